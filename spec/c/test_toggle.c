#include "plugin/toggle.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define BOM "\xEF\xBB\xBF"

static const struct {
    const char *title, *before;
    bool enabled;
    const char *after; /* or the code of the error */
} cases[] = {
    /* what is there is replaced */
    {"disabled", "name: a\nenabled: true\n", false, "name: a\nenabled: false\n"},
    {"enabled", "name: a\nenabled: false\n", true, "name: a\nenabled: true\n"},
    {"a comment behind it", "enabled: true   # why\nname: a\n", false,
     "enabled: false   # why\nname: a\n"},
    {"comments, order and blank lines", "# top\nname: a # n\n\n# e\nenabled:   false\n\nbase: /a\n",
     true, "# top\nname: a # n\n\n# e\nenabled:   true\n\nbase: /a\n"},
    {"CRLF", "name: a\r\nenabled: true\r\nbase: /a\r\n", false,
     "name: a\r\nenabled: false\r\nbase: /a\r\n"},
    {"no end on the last line", "name: a\nenabled: true", false, "name: a\nenabled: false"},
    {"a byte order mark", BOM "enabled: true\nname: a\n", false, BOM "enabled: false\nname: a\n"},
    {"capitals", "name: a\nenabled: TRUE\n", false, "name: a\nenabled: false\n"},
    {"quoted key", "name: a\n\"enabled\": true\n", false, "name: a\n\"enabled\": false\n"},
    {"space before the colon", "name: a\nenabled : true\n", false, "name: a\nenabled : false\n"},
    {"a tag", "name: a\nenabled: !!bool true\n", false, "name: a\nenabled: false\n"},
    {"an indented map", "  name: a\n  enabled: true\n", false, "  name: a\n  enabled: false\n"},
    {"a document's start", "%YAML 1.2\n---\nname: a\nenabled: true\n...\n", false,
     "%YAML 1.2\n---\nname: a\nenabled: false\n...\n"},
    {"a word that was meant as a boolean", "name: a\nenabled: no\n", true,
     "name: a\nenabled: true\n"},
    {"a quoted word", "name: a\nenabled: \"no # x\" # y\n", true, "name: a\nenabled: true # y\n"},
    {"an escaped quote", "name: a\nenabled: \"no \\\" # x\" # y\n", true,
     "name: a\nenabled: true # y\n"},
    {"an alias", "a: &y true\nenabled: *y\nname: a\n", false,
     "a: &y true\nenabled: false\nname: a\n"},

    /* only the top level counts */
    {"nested", "name: a\nconfig:\n  enabled: true\nenabled: true\n", false,
     "name: a\nconfig:\n  enabled: true\nenabled: false\n"},
    {"in a block of text", "name: a\nnote: |\n  enabled: true\n  x\nenabled: true\n", false,
     "name: a\nnote: |\n  enabled: true\n  x\nenabled: false\n"},
    {"in a comment", "# enabled: true\nname: a\n", false,
     "# enabled: true\nname: a\nenabled: false\n"},
    {"nested in one line", "name: a\nx: { enabled: true }\n", false,
     "name: a\nenabled: false\nx: { enabled: true }\n"},

    /* what is not there is added */
    {"behind the name", "# a\nname: a # n\nbase: /a\n", false,
     "# a\nname: a # n\nenabled: false\nbase: /a\n"},
    {"added with CRLF", "name: a\r\nbase: /a\r\n", false,
     "name: a\r\nenabled: false\r\nbase: /a\r\n"},
    {"added with the indent", "  name: a\n  base: /a\n", false,
     "  name: a\n  enabled: false\n  base: /a\n"},
    {"added at an open end", "base: /a\nname: a", false, "base: /a\nname: a\nenabled: false"},
    {"added at an open end with CRLF", "base: /a\r\nname: a", false,
     "base: /a\r\nname: a\r\nenabled: false"},
    {"behind a name of several lines", "name: >-\n  a\nbase: /a\n", false,
     "name: >-\n  a\nenabled: false\nbase: /a\n"},
    {"behind a name of several lines at the end", "base: /a\nname:\n  a\n", false,
     "base: /a\nname:\n  a\nenabled: false\n"},

    /* nothing to do */
    {"enabled already", "name: a\nenabled: true # y\n", true, "name: a\nenabled: true # y\n"},
    {"enabled by default", "name: a\n", true, "name: a\n"},
    {"disabled already", "enabled: false\r\nname: a", false, "enabled: false\r\nname: a"},

    /* refused */
    {"flow style", "{name: a, enabled: true}\n", false, "MANIFEST_FLOW_STYLE"},
    {"flow style over lines", "# x\n---\n{\n  name: a\n}\n", false, "MANIFEST_FLOW_STYLE"},
    {"flow style with a tag", "!!map {name: a}\n", false, "MANIFEST_FLOW_STYLE"},
    {"an anchor that others use", "enabled: &e true\ncritical: *e\nname: a\n", false,
     "MANIFEST_NOT_EDITABLE"},
    {"an anchor that hides another", "a: &e 1\nenabled: &e true\nb: *e\nname: a\n", false,
     "MANIFEST_NOT_EDITABLE"},
    {"the value on a line of its own", "name: a\nenabled:\n  true\n", false,
     "MANIFEST_NOT_EDITABLE"},
    {"a key with a question mark", "? name\n: a\n? enabled\n: true\n", false,
     "MANIFEST_NOT_EDITABLE"},
    {"a list over lines", "name: a\nenabled: [\n  true ]\n", false, "MANIFEST_NOT_EDITABLE"},
    {"twice", "enabled: true\nname: a\nenabled: true\n", false, "MANIFEST_INVALID"},
    {"no YAML", "name: [a\n", false, "MANIFEST_INVALID"},
    {"no map", "- a\n", false, "MANIFEST_INVALID"},
    {"an empty map", "{}\n", false, "MANIFEST_INVALID"},
    {"nothing", "", false, "MANIFEST_INVALID"},
};

static void test_text(void)
{
    for (size_t i = 0; i < LEN(cases); i++) {
        struct buf out = {0};
        struct err err = {.code = ""};
        const bool ok = toggle_text(str_of(cases[i].before), cases[i].enabled, &out, &err);
        const char *got = ok ? (out.data ? out.data : "") : err.code;

        if (strcmp(got, cases[i].after) != 0)
            fprintf(stderr, "%s:\n", cases[i].title);
        CHECK_STR(got, cases[i].after);
        buf_fini(&out);
    }
}

/* --- files --- */

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    CHECK(file && fwrite(text, 1, strlen(text), file) == strlen(text) && fclose(file) == 0);
}

static void check_text(const char *path, const char *want)
{
    char text[256] = "";
    FILE *file = fopen(path, "rb");

    CHECK(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    CHECK_STR(text, want);
}

static size_t entries_in(const char *dir)
{
    size_t count = 0;
    DIR *at = opendir(dir);

    while (readdir(at))
        count++;
    closedir(at);
    return count;
}

static void test_file(void)
{
    char dir[] = "/tmp/test_toggle_XXXXXX", file[64], link[64];
    struct stat st, again;
    struct err err = {.code = ""};

    CHECK(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/manifest.yaml", dir);
    snprintf(link, sizeof(link), "%s/link.yaml", dir);
    write_text(file, "name: a\n");
    CHECK(chmod(file, 0640) == 0);

    CHECK(toggle_manifest(file, false, &err));
    check_text(file, "name: a\nenabled: false\n");
    CHECK(stat(file, &st) == 0 && (st.st_mode & 07777) == 0640);
    CHECK(entries_in(dir) == 3); /* no temporary file is left */

    CHECK(toggle_manifest(file, false, &err)); /* the same file, untouched */
    CHECK(stat(file, &again) == 0 && again.st_ino == st.st_ino);

    CHECK(symlink("manifest.yaml", link) == 0);
    CHECK(!toggle_manifest(link, true, &err));
    CHECK_STR(err.code, "MANIFEST_NOT_EDITABLE");
    CHECK(!toggle_manifest("/nonexistent/manifest.yaml", true, &err));
    CHECK_STR(err.code, "IO");

    unlink(link);
    unlink(file);
    CHECK(rmdir(dir) == 0);
}

int main(void)
{
    test_text();
    test_file();
    return 0;
}
