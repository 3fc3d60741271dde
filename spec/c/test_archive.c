#include "plugin/archive.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "check.h"
#include "plugin/tree.h"

#define DEEP "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/"
#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X250 X50 X50 X50 X50 X50
#define LONGNAME X250 X50
#define LONGPATH X250 "/" X250 "/" X250 "/" X250 "/" X250

static const struct archive_limits limits = {1 << 20, 40};

struct entry {
    const char *path;
    mode_t mode;      /* with its type */
    const char *data; /* of a file; the target of a link */
};

#define FILE_ AE_IFREG | 0644
#define DIR_ AE_IFDIR | 0755

/* --- making archives --- */

static void add(struct archive *out, const struct entry *from)
{
    struct archive_entry *entry = archive_entry_new();
    const size_t size = from->data ? strlen(from->data) : 0;

    archive_entry_copy_pathname(entry, from->path);
    archive_entry_set_mode(entry, from->mode);
    if ((from->mode & AE_IFMT) == AE_IFLNK)
        archive_entry_copy_symlink(entry, from->data);
    else if ((from->mode & AE_IFMT) == AE_IFREG)
        archive_entry_set_size(entry, (la_int64_t)size);
    if ((from->mode & 0777) == 0123) /* what stands for a hard link here */
        archive_entry_copy_hardlink(entry, from->data);
    CHECK(archive_write_header(out, entry) >= ARCHIVE_WARN);
    if ((from->mode & AE_IFMT) == AE_IFREG && (from->mode & 0777) != 0123 && size > 0)
        CHECK(archive_write_data(out, from->data, size) == (la_ssize_t)size);
    archive_entry_free(entry);
}

static struct archive *start(enum archive_form form, int file)
{
    struct archive *out = archive_write_new();

    if (form == ARCHIVE_ZIP) {
        archive_write_set_format_zip(out);
    } else {
        archive_write_add_filter_gzip(out);
        archive_write_set_format_pax_restricted(out);
    }
    archive_write_set_bytes_in_last_block(out, 1);
    CHECK(archive_write_open_fd(out, file) == ARCHIVE_OK);
    return out;
}

static int finish(struct archive *out, int file)
{
    CHECK(archive_write_close(out) == ARCHIVE_OK);
    archive_write_free(out);
    return file;
}

static int new_file(void)
{
    const int file = memfd_create("archive", MFD_CLOEXEC);

    CHECK(file >= 0);
    return file;
}

static int make(enum archive_form form, const struct entry *entries)
{
    const int file = new_file();
    struct archive *out = start(form, file);

    for (; entries->path; entries++)
        add(out, entries);
    return finish(out, file);
}

/* --- unpacking --- */

static char *folder;

static bool unpack(int file, enum archive_form form, struct err *err)
{
    static char name[64];
    int dir;
    bool ok;

    snprintf(name, sizeof(name), "/tmp/buntime-archive-XXXXXX");
    folder = mkdtemp(name);
    CHECK(folder);
    dir = open(folder, O_RDONLY | O_DIRECTORY);
    ok = archive_unpack(file, form, &limits, dir, err);
    close(dir);
    close(file);
    return ok;
}

static void expect(int file, enum archive_form form, const char *code)
{
    struct err err = {.code = ""};
    const bool ok = unpack(file, form, &err);

    if (code)
        CHECK_STR(ok ? "" : err.code, code);
    else
        CHECK_STR(err.code, "");
    CHECK(ok == !code);
    tree_remove(folder);
}

/* --- what is refused, and what is not --- */

enum { TGZ = 1, ZIP = 2, BOTH = 3 };

static const struct {
    const char *title;
    int forms;
    struct entry entries[4];
    const char *code; /* NULL: it is taken */
} cases[] = {
    {"files and folders", BOTH, {{"a", DIR_, NULL}, {"a/b", FILE_, "1"}, {"c", FILE_, ""}}, NULL},
    {"a folder behind what is in it", BOTH, {{"a/b", FILE_, "1"}, {"a/", DIR_, NULL}}, NULL},
    {"the folder itself", TGZ, {{"./", DIR_, NULL}, {"./a", FILE_, "1"}}, NULL},
    {"parts that say nothing", BOTH, {{"./a//b/./c", FILE_, "1"}}, NULL},
    {"names of dots", BOTH, {{"...", FILE_, "1"}, {"..a", FILE_, "1"}, {".a", FILE_, "1"}}, NULL},
    {"names that differ in case", BOTH, {{"a", FILE_, "1"}, {"A", FILE_, "1"}}, NULL},
    {"a name in UTF-8", BOTH, {{"\xc3\xa4/\xe6\x97\xa5", FILE_, "1"}}, NULL},
    {"what Finder adds", ZIP, {{"a", FILE_, "1"}, {"__MACOSX/._a", FILE_, "1"}}, NULL},

    {"up and out", BOTH, {{"../a", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"up in the middle", BOTH, {{"a/../../b", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"up and in again", BOTH, {{"a/../b", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"up at the end", BOTH, {{"a/..", DIR_, NULL}}, "ARCHIVE_ENTRY_PATH"},
    {"absolute", BOTH, {{"/tmp/a", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"absolute folder", BOTH, {{"/", DIR_, NULL}}, "ARCHIVE_ENTRY_PATH"},
    {"a backslash", BOTH, {{"..\\a", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"a control character", BOTH, {{"a\nb", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"not UTF-8", BOTH, {{"a\xff", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"overlong UTF-8", BOTH, {{"\xc0\xaf", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"a file named .", BOTH, {{".", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"a long name", BOTH, {{LONGNAME, FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"a long path", BOTH, {{LONGPATH, FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},
    {"deep", BOTH, {{DEEP "a", FILE_, "1"}}, "ARCHIVE_ENTRY_PATH"},

    {"a symbolic link", BOTH, {{"a", AE_IFLNK | 0777, "/etc/passwd"}}, "ARCHIVE_ENTRY_TYPE"},
    {"a link that stays inside", BOTH, {{"b", AE_IFLNK | 0777, "a"}}, "ARCHIVE_ENTRY_TYPE"},
    {"a hard link", TGZ, {{"a", FILE_, "1"}, {"b", AE_IFREG | 0123, "a"}}, "ARCHIVE_ENTRY_TYPE"},
    {"a pipe", TGZ, {{"a", AE_IFIFO | 0644, NULL}}, "ARCHIVE_ENTRY_TYPE"},
    {"a character device", TGZ, {{"a", AE_IFCHR | 0644, NULL}}, "ARCHIVE_ENTRY_TYPE"},
    {"a block device", TGZ, {{"a", AE_IFBLK | 0644, NULL}}, "ARCHIVE_ENTRY_TYPE"},

    {"twice", BOTH, {{"a", FILE_, "1"}, {"a", FILE_, "2"}}, "ARCHIVE_ENTRY_TWICE"},
    {"twice but for a dot", BOTH, {{"a", FILE_, "1"}, {"./a", FILE_, "2"}}, "ARCHIVE_ENTRY_TWICE"},
    {"a folder twice", BOTH, {{"a", DIR_, NULL}, {"a/.", DIR_, NULL}}, "ARCHIVE_ENTRY_TWICE"},
    {"below a file", BOTH, {{"a", FILE_, "1"}, {"a/b", FILE_, "2"}}, "ARCHIVE_ENTRY_TWICE"},
    {"a file for a folder", BOTH, {{"a/b", FILE_, "1"}, {"a", FILE_, "2"}}, "ARCHIVE_ENTRY_TWICE"},
    {"a folder for a file", BOTH, {{"a", FILE_, "1"}, {"a", DIR_, NULL}}, "ARCHIVE_ENTRY_TWICE"},
};

static void check_case(size_t i, enum archive_form form)
{
    printf("%s (%s)\n", cases[i].title, form == ARCHIVE_ZIP ? "zip" : "tgz");
    fflush(stdout);
    expect(make(form, cases[i].entries), form, cases[i].code);
}

static void test_entries(void)
{
    for (size_t i = 0; i < LEN(cases); i++) {
        if (cases[i].forms & TGZ)
            check_case(i, ARCHIVE_TGZ);
        if (cases[i].forms & ZIP)
            check_case(i, ARCHIVE_ZIP);
    }
}

/* --- what comes out --- */

static void check_mode(const char *name, mode_t want)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    CHECK(lstat(path, &st) == 0);
    CHECK((st.st_mode & 07777) == want);
    CHECK(st.st_uid == geteuid());
}

static void test_modes(enum archive_form form)
{
    static const struct entry entries[] = {
        {"plain", FILE_, "1"},         {"program", AE_IFREG | 06755, "1"},
        {"open", AE_IFREG | 0666, ""}, {"closed", AE_IFREG | 0000, "1"},
        {"d", AE_IFDIR | 01777, NULL}, {NULL, 0, NULL},
    };
    struct err err;

    umask(022);
    CHECK(unpack(make(form, entries), form, &err));
    check_mode("plain", 0644);
    check_mode("program", 0755);
    check_mode("open", 0644);
    check_mode("closed", 0600);
    check_mode("d", 0755);
    tree_remove(folder);
}

static void test_content(enum archive_form form)
{
    static const struct entry entries[] = {{"a/b", FILE_, "some text"}, {NULL, 0, NULL}};
    char path[128], text[32] = "";
    struct err err;
    FILE *file;

    CHECK(unpack(make(form, entries), form, &err));
    snprintf(path, sizeof(path), "%s/a/b", folder);
    file = fopen(path, "r");
    CHECK(file && fgets(text, sizeof(text), file));
    fclose(file);
    CHECK_STR(text, "some text");
    tree_remove(folder);
}

/* --- sizes --- */

/* A file of `size` bytes that pack well, or not at all. */
static int make_large(enum archive_form form, size_t size, bool packs)
{
    char *data = malloc(size + 1);
    unsigned seed = 1;
    int file;

    memset(data, 'x', size);
    for (size_t i = 0; !packs && i < size; i++)
        data[i] = (char)(1 + (seed = seed * 1103515245 + 12345) % 255);
    data[size] = '\0';
    file = make(form, (struct entry[]){{"a", FILE_, data}, {NULL, 0, NULL}});
    free(data);
    return file;
}

static void test_sizes(enum archive_form form)
{
    struct entry many[64] = {{NULL, 0, NULL}};
    char names[64][16];

    expect(make_large(form, limits.bytes, true), form, NULL);
    expect(make_large(form, limits.bytes, false), form, NULL);
    expect(make_large(form, limits.bytes + 1, true), form, "ARCHIVE_TOO_LARGE");
    expect(make_large(form, 64 << 20, true), form, "ARCHIVE_TOO_LARGE");
    for (size_t i = 0; i <= limits.entries; i++) {
        snprintf(names[i], sizeof(names[i]), "f%zu", i);
        many[i] = (struct entry){names[i], FILE_, ""};
        many[i + 1].path = NULL;
        if (i + 1 == limits.entries)
            expect(make(form, many), form, NULL);
    }
    expect(make(form, many), form, "ARCHIVE_TOO_MANY_ENTRIES");
    for (size_t i = 0; i * 2 <= limits.entries; i++) {
        snprintf(names[i], sizeof(names[i]), "d%zu/f", i);
        many[i].path = names[i];
        many[i + 1].path = NULL;
    }
    expect(make(form, many), form, "ARCHIVE_TOO_MANY_ENTRIES"); /* with their folders */
}

/* Headers alone, without an end. */
static void test_header_bomb(void)
{
    const size_t size = 900000;
    const int file = new_file();
    struct archive *out = archive_write_new();
    char head[512] = "pax_global_header", *text = malloc(size + 1);
    unsigned sum = 0, seed = 7;

    snprintf(head + 100, 412, "0000644%c0000000%c0000000%c%011zo%c00000000000%c        g", 0, 0, 0,
             size, 0, 0);
    memcpy(head + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof(head); i++)
        sum += (unsigned char)head[i];
    snprintf(head + 148, 8, "%06o", sum);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('0' + (seed = seed * 1103515245 + 12345) / 65536 % 64);
    memcpy(text, "900000 comment=", 15);
    text[size - 1] = '\n';
    archive_write_add_filter_gzip(out);
    archive_write_set_format_raw(out);
    CHECK(archive_write_open_fd(out, file) == ARCHIVE_OK);
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_filetype(entry, AE_IFREG);
    CHECK(archive_write_header(out, entry) == ARCHIVE_OK);
    for (int i = 0; i < 12; i++) {
        CHECK(archive_write_data(out, head, 512) == 512);
        CHECK(archive_write_data(out, text, size) == (la_ssize_t)size);
        CHECK(archive_write_data(out, (char[512]){0}, 512 - size % 512) >= 0);
    }
    archive_entry_free(entry);
    free(text);
    expect(finish(out, file), ARCHIVE_TGZ, "ARCHIVE_TOO_LARGE");
}

/* --- damage --- */

static const struct entry some[] = {
    {"manifest.yaml", FILE_, "name: a\n"},
    {"plugin.lua", FILE_, "return {}\n"},
    {NULL, 0, NULL},
};

static off_t size_of(int file)
{
    struct stat st;

    CHECK(fstat(file, &st) == 0);
    return st.st_size;
}

/* Wherever it is cut. */
static void test_cut_off(enum archive_form form)
{
    const int whole = make(form, some);
    const off_t size = size_of(whole);

    for (off_t len = 0; len < size; len++) {
        const int file = make(form, some);
        CHECK(ftruncate(file, len) == 0);
        expect(file, form, "ARCHIVE_INVALID");
    }
    close(whole);
}

static void replace_bytes(int file, const char *what, const char *with, size_t len)
{
    char bytes[4096];
    const ssize_t size = pread(file, bytes, sizeof(bytes), 0);

    CHECK(size > 0 && size < (ssize_t)sizeof(bytes));
    for (char *at = bytes; (at = memmem(at, (size_t)(bytes + size - at), what, len)); at += len)
        memcpy(at, with, len);
    CHECK(pwrite(file, bytes, (size_t)size, 0) == size);
}

static void test_tricks(void)
{
    int file = make(ARCHIVE_ZIP, some);

    replace_bytes(file, "plugin.lua", "plug\0n.lua", 10);
    expect(file, ARCHIVE_ZIP, "ARCHIVE_ENTRY_PATH");

    file = make(ARCHIVE_ZIP, (struct entry[]){{"a", FILE_, "0123456789"}, {NULL, 0, NULL}});
    replace_bytes(file, "PK\1\2", "PK\1\3", 4);
    expect(file, ARCHIVE_ZIP, "ARCHIVE_INVALID");

    expect(make(ARCHIVE_ZIP, some), ARCHIVE_TGZ, "ARCHIVE_INVALID");
    expect(make(ARCHIVE_TGZ, some), ARCHIVE_ZIP, "ARCHIVE_INVALID");
    expect(new_file(), ARCHIVE_ZIP, "ARCHIVE_INVALID");
    expect(new_file(), ARCHIVE_TGZ, "ARCHIVE_INVALID");
}

static void test_encrypted(void)
{
    const int file = new_file();
    struct archive *out = archive_write_new();

    archive_write_set_format_zip(out);
    CHECK(archive_write_set_options(out, "zip:encryption=zipcrypt") == ARCHIVE_OK);
    archive_write_set_passphrase(out, "secret");
    CHECK(archive_write_open_fd(out, file) == ARCHIVE_OK);
    add(out, &some[0]);
    expect(finish(out, file), ARCHIVE_ZIP, "ARCHIVE_ENCRYPTED");
}

/* --- suffixes --- */

static void test_suffixes(void)
{
    static const struct {
        const char *name;
        int form; /* -1: none */
    } names[] = {
        {"a.tgz", ARCHIVE_TGZ}, {"a.tar.gz", ARCHIVE_TGZ},
        {"a.zip", ARCHIVE_ZIP}, {"A.ZIP", ARCHIVE_ZIP},
        {"a.tar", -1},          {"a.gz", -1},
        {".zip", -1},           {"zip", -1},
        {"a.zip ", -1},         {"", -1},
        {"a.zip.exe", -1},
    };

    for (size_t i = 0; i < LEN(names); i++) {
        enum archive_form form;
        CHECK(archive_form_of(str_of(names[i].name), &form) == (names[i].form >= 0));
        CHECK(names[i].form < 0 || (int)form == names[i].form);
    }
}

int main(void)
{
    test_entries();
    for (enum archive_form form = ARCHIVE_TGZ; form <= ARCHIVE_ZIP; form++) {
        test_modes(form);
        test_content(form);
        test_sizes(form);
        test_cut_off(form);
    }
    test_header_bomb();
    test_tricks();
    test_encrypted();
    test_suffixes();
    return 0;
}
