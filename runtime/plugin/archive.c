#include "plugin/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "plugin/gunzip.h"
#include "plugin/libarchive.h"
#include "plugin/tree.h"

enum {
    BLOCK = 64 * 1024,
    ENTRY_OVERHEAD = 4096, /* of headers and padding in a tar */
    END_SIZE = 22,         /* of a zip's last record */
};

struct unpacking {
    const struct archive_limits *limits;
    struct err *err;
    bool refused; /* `err` is set by a callback, so what libarchive says is of no interest */
    struct archive *in;
    int file, dir;
    uint64_t at, size; /* in the file */
    uint64_t bytes;
    uint64_t raw; /* bytes of the tar */
    size_t entries;
    size_t headers, announced; /* of a zip */
    struct gunzip *gunzip;     /* of a .tgz */
    void *seen;                /* tsearch() tree of struct place */
    char block[BLOCK];
};

/* A path that something is at. */
struct place {
    bool is_dir, named; /* named: by an entry of its own */
    char path[];
};

static bool io_failed(struct unpacking *u)
{
    return tree_err(u->err, "the package cannot be unpacked");
}

static bool refuse(struct unpacking *u, const char *code, const char *path, const char *what)
{
    return err_set(u->err, code, "the entry \"%.200s\" %s", path, what);
}

static bool too_large(struct unpacking *u)
{
    return err_set(u->err, "ARCHIVE_TOO_LARGE", "the package has more than %llu MB unpacked",
                   (unsigned long long)(u->limits->bytes >> 20));
}

static bool too_many(struct unpacking *u)
{
    return err_set(u->err, "ARCHIVE_TOO_MANY_ENTRIES", "the package has more than %zu entries",
                   u->limits->entries);
}

/* --- the file, as libarchive reads it --- */

static ssize_t read_at(struct unpacking *u, uint64_t offset, void *out, size_t len)
{
    ssize_t got;

    do
        got = pread(u->file, out, len, (off_t)offset);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        u->refused = true;
        tree_err(u->err, "the upload cannot be read");
    }
    return got;
}

/* Headers, padding and holes may not go on for ever either. */
static bool within_limits(struct unpacking *u)
{
    return u->raw <= u->limits->bytes + (uint64_t)u->limits->entries * ENTRY_OVERHEAD ||
           too_large(u);
}

static ssize_t read_tar(struct unpacking *u)
{
    const ssize_t got = gunzip_read(u->gunzip, u->block, sizeof(u->block), u->err);

    u->raw += got > 0 ? (uint64_t)got : 0;
    if (got >= 0 && within_limits(u))
        return got;
    u->refused = true;
    return -1;
}

static la_ssize_t on_read(struct archive *in, void *data, const void **out)
{
    struct unpacking *u = data;
    const ssize_t got = u->gunzip ? read_tar(u) : read_at(u, u->at, u->block, sizeof(u->block));

    (void)in;
    u->at += got > 0 ? (uint64_t)got : 0;
    *out = u->block;
    return got < 0 ? ARCHIVE_FATAL : got;
}

static la_int64_t on_seek(struct archive *in, void *data, la_int64_t offset, int whence)
{
    struct unpacking *u = data;
    const la_int64_t from = whence == SEEK_SET   ? 0
                            : whence == SEEK_CUR ? (la_int64_t)u->at
                                                 : (la_int64_t)u->size;

    (void)in;
    if (offset < -from || from + offset > (la_int64_t)u->size)
        return ARCHIVE_FATAL;
    u->at = (uint64_t)(from + offset);
    return from + offset;
}

static bool damaged(struct unpacking *u)
{
    const char *why;

    if (u->refused)
        return false;
    why = archive_error_string(u->in);
    return err_set(u->err, "ARCHIVE_INVALID", "the archive cannot be read: %.200s",
                   why ? why : "it is damaged");
}

/* --- a zip's directory, before libarchive reads all of it into memory --- */

static uint16_t le16(const unsigned char *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

/* The record at its end, behind which there is only its comment; says how many entries there are.
 */
static bool check_end(struct unpacking *u)
{
    const size_t len = u->size < BLOCK ? (size_t)u->size : BLOCK;
    const ssize_t got = read_at(u, u->size - len, u->block, len);

    for (ssize_t i = got - END_SIZE; i >= 0; i--) {
        const unsigned char *end = (const unsigned char *)u->block + i;
        if (memcmp(end, "PK\5\6", 4) != 0 || i + END_SIZE + le16(end + 20) != got)
            continue;
        u->announced = le16(end + 10);
        return true;
    }
    return got >= 0 &&
           err_set(u->err, "ARCHIVE_INVALID", "the archive cannot be read: its end is missing");
}

static bool check_number(struct unpacking *u)
{
    return u->gunzip || u->headers == u->announced ||
           err_set(u->err, "ARCHIVE_INVALID", "the archive cannot be read: entries are missing");
}

/* libarchive would cut the name at a NUL. */
static bool check_record(struct unpacking *u, uint64_t offset)
{
    unsigned char head[46], name[ARCHIVE_PATH_MAX];
    ssize_t got = read_at(u, offset, head, sizeof(head));

    if (got < (ssize_t)sizeof(head))
        return got >= 0;
    if (++u->entries > u->limits->entries)
        return too_many(u);
    got = le16(head + 28) < sizeof(name) ? le16(head + 28) : (ssize_t)sizeof(name);
    got = read_at(u, offset + sizeof(head), name, (size_t)got);
    if (got > 0 && memchr(name, '\0', (size_t)got))
        return err_set(u->err, "ARCHIVE_ENTRY_PATH", "an entry has a NUL in its name");
    return got >= 0;
}

/* Looks for records everywhere: where they are said to be is as little to be trusted as their
 * number. What only looks like one is one in four billion bytes.
 */
static bool check_records(struct unpacking *u)
{
    static const char mark[] = {'P', 'K', 1, 2};
    const uint64_t size = u->size;

    for (uint64_t from = 0; from + sizeof(mark) <= size; from += BLOCK - sizeof(mark) + 1) {
        const ssize_t got = read_at(u, from, u->block, BLOCK);
        const char *at = u->block, *end = u->block + got;
        if (got < 0)
            return false;
        while ((at = memmem(at, (size_t)(end - at), mark, sizeof(mark)))) {
            if (!check_record(u, from + (uint64_t)(at - u->block)))
                return false;
            at++;
        }
    }
    u->entries = 0;
    return true;
}

/* --- what is where --- */

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->path, ((const struct place *)b)->path);
}

static struct place *new_place(const char *path, size_t len, bool is_dir)
{
    struct place *place = mem_alloc(sizeof(*place) + len + 1);

    memcpy(place->path, path, len);
    place->is_dir = is_dir;
    return place;
}

/* The place of that path, made if nothing is there yet (`*fresh`). NULL: one entry too many. */
static struct place *
place_at(struct unpacking *u, const char *path, size_t len, bool is_dir, bool *fresh)
{
    struct place *place = new_place(path, len, is_dir), **found = tsearch(place, &u->seen, compare);

    if (!found)
        abort();
    *fresh = *found == place;
    if (!*fresh)
        free(place);
    else if (++u->entries > u->limits->entries)
        return NULL;
    return *found;
}

static bool twice(struct unpacking *u, const char *path)
{
    return refuse(u, "ARCHIVE_ENTRY_TWICE", path, "is there twice");
}

/* The folder that `len` bytes of `path` name. */
static bool make_folder(struct unpacking *u, const char *path, size_t len, bool named)
{
    bool fresh;
    struct place *place = place_at(u, path, len, true, &fresh);

    if (!place)
        return too_many(u);
    if (!place->is_dir || (named && place->named))
        return twice(u, place->path);
    place->named |= named;
    if (fresh && mkdirat(u->dir, place->path, 0755) != 0)
        return errno == EEXIST ? twice(u, place->path) : io_failed(u);
    return true;
}

static bool make_folders_above(struct unpacking *u, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        if (!make_folder(u, path, (size_t)(slash - path), false))
            return false;
    }
    return true;
}

/* --- files --- */

static bool write_all(int fd, const char *at, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* Blocks come in order and without holes between them. */
static bool copy_data(struct unpacking *u, const char *path, int fd)
{
    la_int64_t written = 0, offset;
    const void *at;
    size_t len;
    int result;

    while ((result = archive_read_data_block(u->in, &at, &len, &offset)) == ARCHIVE_OK) {
        if (len > u->limits->bytes - u->bytes)
            return too_large(u);
        if (offset != written)
            return refuse(u, "ARCHIVE_ENTRY_TYPE", path, "is a file with holes");
        if (!write_all(fd, at, len))
            return io_failed(u);
        written += (la_int64_t)len;
        u->bytes += len;
    }
    return result == ARCHIVE_EOF || damaged(u);
}

/* Readable and writable for the owner, never writable for others, and nothing special. */
static mode_t mode_of(struct archive_entry *entry)
{
    return (archive_entry_mode(entry) & 0755) | 0600;
}

static bool make_file(struct unpacking *u, const char *path, struct archive_entry *entry)
{
    bool fresh, ok;
    int fd;

    if (!make_folders_above(u, path))
        return false;
    if (!place_at(u, path, strlen(path), false, &fresh))
        return too_many(u);
    if (!fresh)
        return twice(u, path);
    fd = openat(u->dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? twice(u, path) : io_failed(u);
    ok = copy_data(u, path, fd);
    if (ok && fchmod(fd, mode_of(entry)) != 0)
        ok = io_failed(u);
    if (close(fd) != 0 && ok)
        ok = io_failed(u);
    return ok;
}

/* --- entries --- */

/* Finder's zips bring what no other machine can use. */
static bool is_of_finder(const char *path)
{
    return strcmp(path, "__MACOSX") == 0 || strncmp(path, "__MACOSX/", 9) == 0;
}

static bool take_entry(struct unpacking *u, struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);
    const mode_t type = archive_entry_filetype(entry);
    char path[ARCHIVE_PATH_MAX + 1];

    if (!name)
        return err_set(u->err, "ARCHIVE_ENTRY_PATH", "an entry has a name that is not UTF-8");
    if (!archive_path(str_of(name), path, u->err))
        return false;
    if (archive_entry_is_encrypted(entry))
        return err_set(u->err, "ARCHIVE_ENCRYPTED", "the archive is encrypted");
    if (archive_entry_hardlink(entry) || archive_entry_symlink(entry))
        return refuse(u, "ARCHIVE_ENTRY_TYPE", name, "is a link");
    if (type != AE_IFREG && type != AE_IFDIR)
        return refuse(u, "ARCHIVE_ENTRY_TYPE", name, "is neither a file nor a folder");
    if (archive_entry_sparse_count(entry) > 0)
        return refuse(u, "ARCHIVE_ENTRY_TYPE", name, "is a file with holes");
    if (is_of_finder(path))
        return ++u->entries <= u->limits->entries || too_many(u);
    if (!*path)
        return type == AE_IFDIR || refuse(u, "ARCHIVE_ENTRY_PATH", name, "has no name");
    if (type == AE_IFREG)
        return make_file(u, path, entry);
    return make_folders_above(u, path) && make_folder(u, path, strlen(path), true);
}

static bool take_entries(struct unpacking *u)
{
    struct archive_entry *entry;
    int result;

    while ((result = archive_read_next_header(u->in, &entry)) == ARCHIVE_OK) {
        u->headers++;
        if (!take_entry(u, entry))
            return false;
    }
    return result == ARCHIVE_EOF ? check_number(u) : damaged(u);
}

/* --- the whole --- */

/* What is behind the end of the tar tells whether the file was whole. */
static bool read_rest(struct unpacking *u)
{
    ssize_t got = 1;

    while (u->gunzip && got > 0)
        got = read_tar(u);
    return got >= 0;
}

/* libarchive also takes what is not packed at all, and a zip with something in front of it. */
static bool check_start(struct unpacking *u, enum archive_form form)
{
    static const struct {
        const char *bytes, *name;
    } marks[] = {[ARCHIVE_TGZ] = {"\x1f\x8b", "gzip"}, [ARCHIVE_ZIP] = {"PK", "zip"}};
    char start[2];
    const ssize_t got = read_at(u, 0, start, sizeof(start));

    if (got < 0)
        return false;
    if (got == sizeof(start) && memcmp(start, marks[form].bytes, sizeof(start)) == 0)
        return true;
    return err_set(u->err, "ARCHIVE_INVALID", "the file is not a %s archive, as its name says",
                   marks[form].name);
}

static bool open_archive(struct unpacking *u, enum archive_form form)
{
    int result;

    if (form == ARCHIVE_TGZ)
        u->gunzip = gunzip_open(u->file);
    else
        archive_read_set_seek_callback(u->in, on_seek);
    archive_read_set_read_callback(u->in, on_read);
    archive_read_set_callback_data(u->in, u);
    result = archive_read_open1(u->in);
    return result == ARCHIVE_OK || damaged(u);
}

static bool unpack(struct unpacking *u, enum archive_form form)
{
    struct stat st;

    if (fstat(u->file, &st) != 0)
        return tree_err(u->err, "the upload cannot be read");
    u->size = (uint64_t)st.st_size;
    if (!check_start(u, form) || (form == ARCHIVE_ZIP && !(check_end(u) && check_records(u))))
        return false;
    u->in = form == ARCHIVE_ZIP ? libarchive_read_zip() : libarchive_read_tar();
    return u->in && open_archive(u, form) && take_entries(u) && read_rest(u);
}

bool archive_unpack(
    int file, enum archive_form form, const struct archive_limits *limits, int dir, struct err *err)
{
    /* Names stay the bytes that they are: libarchive converts them to the locale's character set.
     */
    const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    const locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    struct unpacking *u = mem_alloc(sizeof(*u));
    bool ok;

    u->limits = limits;
    u->err = err;
    u->file = file;
    u->dir = dir;
    ok = unpack(u, form);
    if (u->in)
        archive_read_free(u->in);
    gunzip_close(u->gunzip);
    tdestroy(u->seen, free);
    free(u);
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
    return ok;
}
