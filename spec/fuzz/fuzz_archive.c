/* A byte that picks zip or tar, and an archive, which as a tar is packed first: mutations of what
 * is packed would only meet its checksum. What is unpacked stays in its folder and within the
 * limits and is files and folders that nobody else may write to.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "plugin/archive.h"

enum { BYTES_MAX = 64 * 1024, ENTRIES_MAX = 32 };

static char root[64];

/* --- the folder --- */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info, (void)type;
    require(ftw->level <= 1 + ARCHIVE_DEPTH_MAX);
    return remove(path);
}

static void remove_root(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_root(void)
{
    strcpy(root, access("/dev/shm", W_OK) == 0 ? "/dev/shm/fuzz-XXXXXX" : "/tmp/fuzz-XXXXXX");
    require(mkdtemp(root) != NULL);
}

static uint64_t bytes;
static size_t entries;

static int look_at(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    char name[ARCHIVE_PATH_MAX + 1];
    const char *rest = path + strlen(root) + strlen("/in");
    struct err err;

    (void)type;
    if (ftw->level == 0)
        return 0;
    require(S_ISREG(info->st_mode) || S_ISDIR(info->st_mode));
    require(!(info->st_mode & 07022) && (info->st_mode & 0600) == 0600);
    require(*rest == '/' && archive_path(str_of(rest + 1), name, &err));
    require(strcmp(rest + 1, name) == 0);
    bytes += S_ISREG(info->st_mode) ? (uint64_t)info->st_size : 0;
    entries++;
    return 0;
}

static void check_folder(const char *folder)
{
    bytes = entries = 0;
    require(nftw(folder, look_at, 8, FTW_PHYS) == 0);
    require(bytes <= BYTES_MAX && entries <= ENTRIES_MAX);
}

/* --- the file --- */

static int memory_file(const void *at, size_t len)
{
    const int fd = memfd_create("archive", MFD_CLOEXEC);

    require(fd >= 0 && write(fd, at, len) == (ssize_t)len);
    return fd;
}

static int packed_file(struct str tar)
{
    const uLong most = compressBound(tar.len) + 64;
    unsigned char *packed = malloc(most);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)tar.at, .avail_in = (uInt)tar.len};
    int fd;

    require(packed != NULL);
    require(deflateInit2(&z, 0, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_out = packed;
    z.avail_out = (uInt)most;
    require(deflate(&z, Z_FINISH) == Z_STREAM_END);
    fd = memory_file(packed, z.total_out);
    deflateEnd(&z);
    free(packed);
    return fd;
}

static void check_problem(const struct err *err)
{
    static const char *const codes[] = {
        "ARCHIVE_INVALID",     "ARCHIVE_ENCRYPTED", "ARCHIVE_ENTRY_PATH",      "ARCHIVE_ENTRY_TYPE",
        "ARCHIVE_ENTRY_TWICE", "ARCHIVE_TOO_LARGE", "ARCHIVE_TOO_MANY_ENTRIES"};
    bool known = false;

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        known = known || strcmp(codes[i], err->code) == 0;
    require(known && err->message[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct archive_limits limits = {.bytes = BYTES_MAX, .entries = ENTRIES_MAX};
    const enum archive_form form = size > 0 && data[0] % 2 ? ARCHIVE_TGZ : ARCHIVE_ZIP;
    const struct str rest = {(const char *)data + (size > 0), size - (size > 0)};
    char folder[80];
    struct err err = {.code = ""};
    int file, dir;

    make_root();
    snprintf(folder, sizeof(folder), "%s/in", root);
    require(mkdir(folder, 0700) == 0);
    dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    file = form == ARCHIVE_TGZ ? packed_file(rest) : memory_file(rest.at, rest.len);
    if (!archive_unpack(file, form, &limits, dir, &err))
        check_problem(&err);
    close(file);
    close(dir);
    check_folder(folder);
    remove_root();
    return 0;
}
