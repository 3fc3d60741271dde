#include "plugin/package.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "conf/manifest.h"
#include "conf/problems.h"
#include "plugin/archive.h"
#include "plugin/package_impl.h"
#include "plugin/tree.h"

void package_init(struct package *package, const struct settings *settings, enum package_kind kind)
{
    *package = (struct package){.settings = settings, .kind = kind, .lock = -1, .upload = -1};
}

void package_fini(struct package *package)
{
    stage_close(package);
    free(package->name);
    free(package->version);
    free(package->root);
    free(package->target);
    free(package->old_version);
    free(package->restored);
    package_init(package, package->settings, package->kind);
}

/* --- the upload --- */

static bool start_upload(struct package *package, struct err *err)
{
    const char *home = package_home(package, err);

    if (!home || !stage_open(package, home, err))
        return false;
    package->upload = openat(package->lock, "upload", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return package->upload >= 0 || tree_err(err, "the upload cannot be written");
}

bool package_write(struct package *package, const void *bytes, size_t len, struct err *err)
{
    const char *at = bytes;

    if (!package->stage && !start_upload(package, err))
        return false;
    while (len > 0) {
        const ssize_t n = write(package->upload, at, len);
        if (n < 0 && errno != EINTR)
            return tree_err(err, "the upload cannot be written");
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* --- unpacking --- */

static bool unpack(struct package *package, enum archive_form form, struct err *err)
{
    static const struct archive_limits limits = {PACKAGE_BYTES_MAX, PACKAGE_ENTRIES_MAX};
    int dir;
    bool ok;

    package->root = path_join(package->stage, "new");
    if (mkdir(package->root, 0755) != 0)
        return tree_err(err, "the package cannot be unpacked");
    dir = open(package->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return tree_err(err, "the package cannot be unpacked");
    ok = archive_unpack(package->upload, form, &limits, dir, err);
    close(dir);
    return ok;
}

static int not_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* The path of the one thing that is in the folder; NULL when there are more, or none. */
static char *only_entry(const char *dir)
{
    struct dirent **entries;
    const int count = scandir(dir, &entries, not_dots, alphasort);
    char *only = count == 1 ? path_join(dir, entries[0]->d_name) : NULL;

    for (int i = 0; i < count; i++)
        free(entries[i]);
    if (count >= 0)
        free(entries);
    return only;
}

/* Takes the folder that everything is in for the package. */
static bool lift(struct package *package, struct err *err)
{
    char *only;

    if (manifest_exists(package->root))
        return true;
    only = only_entry(package->root);
    if (only && manifest_exists(only)) {
        free(package->root);
        package->root = only;
        return true;
    }
    free(only);
    return err_set(err, "MANIFEST_MISSING",
                   "the package has no manifest.yaml, neither on top nor in its only folder");
}

/* --- the manifest --- */

/* Where the package was unpacked is nobody's business: "manifest.yaml:3:7: ...". */
static void hide_root(const struct package *package, char *text)
{
    const char *root = path_tidy(package->root);
    const size_t len = strlen(root) + 1;
    char *at = text;

    while ((at = strstr(at, root))) {
        if (at[len - 1] == '/')
            memmove(at, at + len, strlen(at + len) + 1);
        else
            at += len - 1;
    }
}

void package_hide_place(const struct package *package, struct err *err)
{
    hide_root(package, err->message);
    hide_root(package, err->file);
    hide_root(package, err->traceback);
}

static const char *code_of(const struct problems *problems)
{
    for (size_t i = 0; i < problems->len; i++) {
        const struct problem *problem = &problems->items[i];
        if (problem->warning)
            continue;
        if (strcmp(problem->message, "name is missing") == 0)
            return "NAME_MISSING";
        return strncmp(problem->message, "name ", 5) == 0 ? "NAME_INVALID" : problem->code;
    }
    return "MANIFEST_INVALID";
}

static bool take_manifest(struct package *package, const struct manifest *manifest, struct err *err)
{
    package->name = mem_copy(manifest->name);
    package->version = mem_copy(manifest->version);
    if (package->kind == PACKAGE_APP && !*manifest->name)
        return err_set(err, "NAME_MISSING", "manifest.yaml: name is missing");
    if (package->kind == PACKAGE_APP && !manifest->version)
        return err_set(err, "VERSION_MISSING", "the manifest of an app needs a version");
    return true;
}

/* An app's has no folder yet that would stand in for the name and the version. */
static struct manifest *manifest_of(const struct package *package, struct problems *problems)
{
    const struct app_place place = {.dir = package->root, .name = ""};

    return package->kind == PACKAGE_APP ? manifest_read_app(&place, package->settings, problems)
                                        : manifest_read(package->root, package->settings, problems);
}

static bool read_manifest(struct package *package, struct err *err)
{
    struct problems problems = {0};
    struct manifest *manifest = manifest_of(package, &problems);
    bool ok = problems_err(&problems, err);

    if (!ok) {
        snprintf(err->code, sizeof(err->code), "%s", code_of(&problems));
        package_hide_place(package, err);
    }
    ok = ok && take_manifest(package, manifest, err);
    manifest_unref(manifest);
    problems_fini(&problems);
    return ok;
}

bool package_unpack(struct package *package, const char *filename, struct err *err)
{
    enum archive_form form;

    if (!archive_form_of(str_of(filename), &form))
        return err_set(err, "ARCHIVE_SUFFIX", "a package is a .tgz, .tar.gz or .zip file");
    return unpack(package, form, err) && lift(package, err) && read_manifest(package, err);
}
