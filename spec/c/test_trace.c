#include "base/random.h"
#include "http/trace.h"

#include "check.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static const struct {
    const char *text;
    bool valid, sampled;
} cases[] = {
    {"00-" ID "-" SPAN "-01", true, true},
    {"00-" ID "-" SPAN "-00", true, false},
    {"00-" ID "-" SPAN "-03", true, true},
    {"00-" ID "-" SPAN "-0a", true, false},
    {"cc-" ID "-" SPAN "-01", true, true}, /* a later version */
    {"cc-" ID "-" SPAN "-01-what", true, true},
    {"cc-" ID "-" SPAN "-01what", false, false},
    {"00-" ID "-" SPAN "-01-what", false, false},
    {"ff-" ID "-" SPAN "-01", false, false},
    {"0-" ID "-" SPAN "-01", false, false},
    {"00-" ID "-" SPAN "-1", false, false},
    {"00-" ID "-" SPAN, false, false},
    {"00_" ID "-" SPAN "-01", false, false},
    {"00-" ID "_" SPAN "-01", false, false},
    {"00-" ID "-" SPAN "_01", false, false},
    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", false, false}, /* upper case */
    {"00-00000000000000000000000000000000-" SPAN "-01", false, false},
    {"00-" ID "-0000000000000000-01", false, false},
    {"00-" ID "-" SPAN "-zz", false, false},
    {"", false, false},
};

int main(void)
{
    struct random_pool pool = {.left = 0};
    struct trace trace, other;

    for (size_t i = 0; i < LEN(cases); i++) {
        if (trace_join(&trace, str_of(cases[i].text), &pool) != cases[i].valid ||
            (cases[i].valid && trace.sampled != cases[i].sampled)) {
            fprintf(stderr, "\"%s\"\n", cases[i].text);
            return 1;
        }
    }
    CHECK(!trace_join(&trace, (struct str){0}, &pool));

    CHECK(trace_join(&trace, str_of(cases[0].text), &pool));
    CHECK_STR(trace.id, ID);
    CHECK_STR(trace.parent, SPAN);
    CHECK(strlen(trace.span) == 16 && strcmp(trace.span, SPAN) != 0);
    CHECK(strncmp(trace.text, "00-" ID "-", 36) == 0);
    CHECK(strncmp(trace.text + 36, trace.span, 16) == 0);
    CHECK_STR(trace.text + 52, "-01");

    trace_begin(&trace, &pool);
    CHECK(trace.sampled && !*trace.parent);
    CHECK(trace_join(&other, str_of(trace.text), &pool)); /* what goes out is valid */
    CHECK_STR(other.id, trace.id);
    CHECK_STR(other.parent, trace.span);
    return 0;
}
