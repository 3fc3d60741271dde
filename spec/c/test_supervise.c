/* What the supervisor decides by: strikes within a minute, and who is in quarantine. */
#include "app/blackbox.h"
#include "app/strikes.h"

#include "check.h"

enum { SECOND = 1000 };

static struct strikes strikes;

static bool strike(const char *name, const char *digest, uint64_t second)
{
    struct box_plugin plugin = {0};

    strcpy(plugin.name, name);
    strcpy(plugin.digest, digest);
    return strikes_add(&strikes, &plugin, second * SECOND);
}

static void test_strikes(void)
{
    CHECK(!strike("a", "1", 100));
    CHECK(!strike("a", "1", 130));
    CHECK(!strike("b", "1", 131)); /* each plugin for itself */
    CHECK(strike("a", "1", 159));
    CHECK(strike("a", "1", 160));

    CHECK(!strike("slow", "1", 200));
    CHECK(!strike("slow", "1", 230));
    CHECK(!strike("slow", "1", 260)); /* a minute after the first */
    CHECK(strike("slow", "1", 261));

    CHECK(!strike("edited", "1", 300)); /* other files, another plugin */
    CHECK(!strike("edited", "1", 301));
    CHECK(!strike("edited", "2", 302));
}

/* More plugins than there is room for: those that were quiet for longest are forgotten. */
static void test_many(void)
{
    char name[16];

    CHECK(!strike("last", "1", 1000));
    CHECK(!strike("last", "1", 1001));
    for (unsigned i = 0; i < STRIKES_PLUGINS - 1; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        CHECK(!strike(name, "1", 1002 + i / 10));
    }
    CHECK(strike("last", "1", 1010));
    CHECK(!strike("a", "1", 1011));
}

static struct box_plugin given(const char *name, const char *digest)
{
    struct box_plugin plugin = {0};

    strcpy(plugin.name, name);
    strcpy(plugin.digest, digest);
    return plugin;
}

static void digest_of(char letter, char out[static DIGEST_TEXT])
{
    memset(out, letter, DIGEST_TEXT - 1);
    out[DIGEST_TEXT - 1] = '\0';
}

static void test_marks(struct blackbox *box)
{
    char one[DIGEST_TEXT], two[DIGEST_TEXT], long_name[BOX_NAME_MAX + 1];
    struct box_plugin plugin;

    digest_of('1', one);
    digest_of('2', two);
    CHECK(blackbox_mark(box, "a", one) == 1);
    CHECK(blackbox_mark(box, "b", one) == 2);
    CHECK(blackbox_mark(box, "a", two) == 1); /* the same place with the new files */
    CHECK(blackbox_plugin(box, 1, &plugin));
    CHECK_STR(plugin.name, "a");
    CHECK_STR(plugin.digest, two);
    memset(long_name, 'x', BOX_NAME_MAX);
    long_name[BOX_NAME_MAX] = '\0';
    CHECK(blackbox_mark(box, long_name, one) == 0);

    /* What a crashed process may have left. */
    CHECK(!blackbox_plugin(box, 0, &plugin) && !blackbox_plugin(box, 3, &plugin));
    box->plugin_count = UINT32_MAX;
    CHECK(!blackbox_plugin(box, BOX_PLUGINS + 1, &plugin));
    memset(&box->plugins[1], 'y', sizeof(box->plugins[1]));
    CHECK(blackbox_plugin(box, 2, &plugin));
    CHECK(strlen(plugin.name) == BOX_NAME_MAX - 1);
    blackbox_reset(box);
    CHECK(!blackbox_plugin(box, 1, &plugin));
}

static void test_quarantine(struct blackbox *box)
{
    struct box_plugin plugin = given("a", "1");
    char name[16];

    CHECK(!blackbox_quarantined(box, "a", "1"));
    blackbox_quarantine(box, &plugin);
    CHECK(blackbox_quarantined(box, "a", "1"));
    CHECK(!blackbox_quarantined(box, "a", "2") && !blackbox_quarantined(box, "b", "1"));
    blackbox_reset(box); /* a new server process */
    CHECK(blackbox_quarantined(box, "a", "1"));
    plugin = given("a", "2");
    blackbox_quarantine(box, &plugin);
    CHECK(blackbox_quarantined(box, "a", "2") && !blackbox_quarantined(box, "a", "1"));
    for (int i = 0; i < BOX_QUARANTINE; i++) {
        snprintf(name, sizeof(name), "p%d", i);
        plugin = given(name, "1");
        blackbox_quarantine(box, &plugin);
    }
    CHECK(!blackbox_quarantined(box, "a", "2"));
    CHECK(blackbox_quarantined(box, name, "1"));
}

int main(void)
{
    struct err err;
    struct blackbox *box = blackbox_new(&err);

    CHECK(box);
    test_strikes();
    test_many();
    test_marks(box);
    test_quarantine(box);
    blackbox_free(box);
    return 0;
}
