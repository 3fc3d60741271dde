#include "base/suggest.h"

#include <string.h>

enum { WORD_MAX = 64, SLIPS_MAX = 2 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Three rows of the usual table: this one, the one before, and the one before that. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][WORD_MAX + 1];

    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = up[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(row[j], least(up[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], up2[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *suggest(const char *word, const char *const *known)
{
    const size_t len = strlen(word);
    size_t best = SLIPS_MAX + 1;
    const char *nearest = NULL;

    if (len > WORD_MAX)
        return NULL;
    for (; *known; known++) {
        const size_t known_len = strlen(*known);
        const size_t slips = known_len > WORD_MAX ? best : distance(word, len, *known, known_len);

        if (slips > 0 && slips < best && slips * 2 < len) {
            best = slips;
            nearest = *known;
        }
    }
    return nearest;
}
