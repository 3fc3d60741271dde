#include "conf/digest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/mem.h"

enum { DEPTH_MAX = 32 };

static void add_text(EVP_MD_CTX *ctx, const char *text)
{
    EVP_DigestUpdate(ctx, text, strlen(text) + 1);
}

static void add_file(EVP_MD_CTX *ctx, const char *path)
{
    char block[16384];
    ssize_t got = -1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);

    while (fd >= 0 && (got = read(fd, block, sizeof(block))) > 0)
        EVP_DigestUpdate(ctx, block, (size_t)got);
    if (got < 0)
        add_text(ctx, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void add_link(EVP_MD_CTX *ctx, const char *path)
{
    char target[4096];
    const ssize_t len = readlink(path, target, sizeof(target));

    if (len > 0)
        EVP_DigestUpdate(ctx, target, (size_t)len);
}

static int not_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_folder(EVP_MD_CTX *ctx, const char *dir, int depth);

static void add_entry(EVP_MD_CTX *ctx, const char *path, const char *name, int depth)
{
    struct stat st;
    uint64_t frame[2];

    if (lstat(path, &st) != 0)
        return;
    add_text(ctx, name);
    frame[0] = st.st_mode & S_IFMT;
    frame[1] = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    EVP_DigestUpdate(ctx, frame, sizeof(frame));
    if (S_ISREG(st.st_mode))
        add_file(ctx, path);
    else if (S_ISLNK(st.st_mode))
        add_link(ctx, path);
    else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
        add_folder(ctx, path, depth + 1);
}

static void add_folder(EVP_MD_CTX *ctx, const char *dir, int depth)
{
    struct dirent **entries;
    const int count = scandir(dir, &entries, not_dots, by_bytes);

    for (int i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", dir, entries[i]->d_name);
        add_entry(ctx, path, entries[i]->d_name, depth);
        free(path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    add_text(ctx, "end");
}

static void finish(EVP_MD_CTX *ctx, char out[static DIGEST_TEXT])
{
    unsigned char sum[EVP_MAX_MD_SIZE] = {0};

    EVP_DigestFinal_ex(ctx, sum, NULL);
    EVP_MD_CTX_free(ctx);
    for (int i = 0; i < 32; i++) {
        out[i * 2] = "0123456789abcdef"[sum[i] >> 4];
        out[i * 2 + 1] = "0123456789abcdef"[sum[i] & 15];
    }
    out[64] = '\0';
}

void digest_folder(const char *dir, char out[static DIGEST_TEXT])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    add_folder(ctx, dir, 0);
    finish(ctx, out);
}

void digest_add(char digest[static DIGEST_TEXT], const char *text)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    add_text(ctx, digest);
    add_text(ctx, text);
    finish(ctx, digest);
}
