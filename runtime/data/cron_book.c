#include "data/cron_book.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Records that nobody holds are kept, in case their plugin comes back, but not for ever. */
enum { UNHELD_MAX = 256 };

struct cron_book {
    struct cron_record *first; /* newest first */
    struct cron_locks *locks;
};

struct cron_book *cron_book_new(void)
{
    return mem_alloc(sizeof(struct cron_book));
}

void cron_book_share(struct cron_book *book, struct cron_locks *locks)
{
    book->locks = locks;
}

struct cron_locks *cron_book_locks(const struct cron_book *book)
{
    return book->locks;
}

static void free_record(struct cron_record *record)
{
    free(record->key);
    free(record);
}

void cron_book_free(struct cron_book *book)
{
    if (!book)
        return;
    while (book->first) {
        struct cron_record *record = book->first;
        book->first = record->next;
        free_record(record);
    }
    free(book);
}

/* Frees the oldest of those that nobody holds. */
static void tidy(struct cron_book *book)
{
    struct cron_record **at = &book->first;
    unsigned unheld = 0;

    while (*at) {
        struct cron_record *record = *at;

        if (record->refs == 0 && ++unheld > UNHELD_MAX) {
            *at = record->next;
            free_record(record);
        } else {
            at = &record->next;
        }
    }
}

struct cron_record *cron_book_take(struct cron_book *book, const char *key)
{
    struct cron_record *record = book->first;

    while (record && strcmp(record->key, key) != 0)
        record = record->next;
    if (!record) {
        tidy(book);
        record = mem_alloc(sizeof(*record));
        record->key = mem_copy(key);
        record->armed = record->claimed = record->last_ms = CRON_NEVER;
        record->next = book->first;
        book->first = record;
    }
    record->refs++;
    return record;
}

void cron_book_drop(struct cron_record *record)
{
    record->refs--;
}
