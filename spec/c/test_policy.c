/* From a manifest's permissions to the folders that are opened. */
#include "worker/policy.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "worker/app.h"

#include "check.h"

static char root[64];
static const char *const none[] = {NULL};

/* "…/rest" of the test's folder. */
static const char *at(const char *rest)
{
    static char path[256][128];
    static unsigned next;
    char *to = path[next++ % 256];

    snprintf(to, sizeof(path[0]), "%s/%s", root, rest);
    return to;
}

static void folder(const char *name)
{
    CHECK(mkdir(at(name), 0755) == 0);
}

static char *plugin_dirs[] = {NULL, NULL}, *worker_dirs[] = {NULL, NULL};
static struct settings settings;
static struct policy *policy;
static struct err err;

static bool make(const char *const *read, const char *const *write)
{
    struct manifest manifest = {.permissions = {read, write, none, none}};
    struct app app = {.dir = (char *)(uintptr_t)at("apps/hello"), .manifest = &manifest};

    policy_free(policy);
    err_clear(&err);
    policy = policy_new(&app, &settings, at("tmp/w1"), &err);
    return policy != NULL;
}

static bool has(char *const *list, const char *path)
{
    for (; *list; list++) {
        if (strcmp(*list, path) == 0)
            return true;
    }
    return false;
}

static bool reads(const char *entry)
{
    return make((const char *const[]){entry, NULL}, none);
}

static bool writes(const char *entry)
{
    return make(none, (const char *const[]){entry, NULL});
}

static void test_default(void)
{
    CHECK(make(none, none));
    CHECK(has(policy->read, at("apps/hello")) && has(policy->read, "/etc/ssl/certs"));
    CHECK(has(policy->write, at("tmp/w1")) && !has(policy->write, at("apps/hello")));
    CHECK(!has(policy->read, "/etc") && !has(policy->read, "/etc/ssl"));
    CHECK_STR(policy->data, at("tmp/w1"));
}

static void test_asked(void)
{
    CHECK(reads(at("shared")) && has(policy->read, at("shared")));
    CHECK(!has(policy->write, at("shared")));
    CHECK(reads("sub") && has(policy->read, at("apps/hello/sub")));
    CHECK(reads("/etc/hosts") && has(policy->read, "/etc/hosts"));
    CHECK(reads("link") && has(policy->read, at("shared")) &&
          !has(policy->read, at("apps/hello/link")));
    CHECK(reads(at("shared/../shared")) && has(policy->read, at("shared")));

    CHECK(writes("data") && has(policy->write, at("apps/hello/data")));
    CHECK(path_is_dir(at("apps/hello/data")));
    CHECK_STR(policy->data, at("apps/hello/data"));
    CHECK(writes(at("shared/new")) && path_is_dir(at("shared/new")));
}

static void test_refused(void)
{
    const char *const own[] = {at("state"),
                               at("state/keys"),
                               at("state/data"),
                               root,
                               "/",
                               "/proc",
                               "/proc/self",
                               "/dev",
                               "..",
                               "../other",
                               at("plugins"),
                               "secrets",
                               "../../state/keys",
                               at("root.key")};

    for (size_t i = 0; i < LEN(own); i++) {
        char message[256];

        snprintf(message, sizeof(message),
                 "permissions.read: \"%s\" is the server's own and no app's", own[i]);
        if (reads(own[i]))
            fprintf(stderr, "%s\n", own[i]);
        CHECK(!policy);
        CHECK_STR(err.message, message);
        CHECK_STR(err.code, "SANDBOX_REFUSED");
        CHECK(!writes(own[i]));
    }
    CHECK(!reads("missing"));
    CHECK_STR(err.message, "permissions.read: \"missing\" No such file or directory");
    CHECK(!writes("missing/deep") && !writes("sub/new/.."));
    CHECK(!writes("../new") && !path_is_dir(at("apps/new")));
    CHECK(!writes(at("state/new")) && !path_is_dir(at("state/new")));
    CHECK(writes(at("state-of-others"))); /* a name that only begins like the server's */
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

int main(void)
{
    strcpy(root, "/tmp/buntime-policy-XXXXXX");
    CHECK(mkdtemp(root));
    folder("apps");
    folder("apps/hello");
    folder("apps/hello/sub");
    folder("apps/other");
    folder("plugins");
    folder("shared");
    folder("state");
    folder("state/data");
    folder("state/keys");
    folder("tmp");
    folder("tmp/w1");
    CHECK(symlink(at("shared"), at("apps/hello/link")) == 0);
    CHECK(symlink(at("state/keys"), at("apps/hello/secrets")) == 0);
    close(open(at("root.key"), O_CREAT | O_WRONLY, 0600));

    plugin_dirs[0] = strdup(at("plugins"));
    worker_dirs[0] = strdup(at("apps"));
    settings = (struct settings){.state_dir = strdup(at("state")),
                                 .root_key_file = strdup(at("root.key")),
                                 .plugin_dirs = {plugin_dirs, 1},
                                 .worker_dirs = {worker_dirs, 1}};
    test_default();
    test_asked();
    test_refused();
    policy_free(policy);
    free(plugin_dirs[0]);
    free(worker_dirs[0]);
    free(settings.state_dir);
    free(settings.root_key_file);
    CHECK(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    return 0;
}
