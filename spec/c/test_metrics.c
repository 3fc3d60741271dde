#include <stdlib.h>

#include "base/buf.h"
#include "data/metrics.h"

#include "check.h"

static char page[4 << 20];

static const char *write_page(struct metrics *m)
{
    struct buf out = {0};

    metrics_write(m, &out);
    CHECK(out.len < sizeof(page));
    memcpy(page, out.data, out.len + 1);
    buf_fini(&out);
    return page;
}

static void test_one_series_for_one_route(void)
{
    struct metrics *m = metrics_new();
    struct metric_route *a = metrics_route(m, "p", STR("GET"), STR("/a"));

    CHECK(a == metrics_route(m, "p", STR("GET"), STR("/a")));
    CHECK(a != metrics_route(m, "p", STR("POST"), STR("/a")));
    CHECK(a != metrics_route(m, "q", STR("GET"), STR("/a")));
    CHECK(!strstr(write_page(m), "/a")); /* nothing was counted yet */
    metric_count(a, 200, 1000);
    CHECK(strstr(write_page(m),
                 "requests_total{plugin=\"p\",method=\"GET\",route=\"/a\",status=\"200\"} 1\n"));
    metrics_free(m);
}

static void test_bounds_are_inclusive(void)
{
    struct metrics *m = metrics_new();
    struct metric_route *a = metrics_route(m, "p", STR("GET"), STR("/a"));

    metric_count(a, 200, 1000000); /* 1 ms: in the bucket of 1 ms */
    metric_count(a, 200, 1000001);
    metric_count(a, 200, 60000000000); /* beyond all */
    write_page(m);
    CHECK(strstr(page, ",le=\"0.0005\"} 0\n"));
    CHECK(strstr(page, ",le=\"0.001\"} 1\n"));
    CHECK(strstr(page, ",le=\"0.0025\"} 2\n"));
    CHECK(strstr(page, ",le=\"10\"} 2\n"));
    CHECK(strstr(page, ",le=\"+Inf\"} 3\n"));
    CHECK(strstr(page, "_sum{plugin=\"p\",method=\"GET\",route=\"/a\"} 60.002\n"));
    CHECK(strstr(page, "_count{plugin=\"p\",method=\"GET\",route=\"/a\"} 3\n"));
    metrics_free(m);
}

static void test_many_statuses(void)
{
    struct metrics *m = metrics_new();
    struct metric_route *a = metrics_route(m, "p", STR("GET"), STR("/a"));

    for (unsigned status = 200; status < 220; status++)
        metric_count(a, status, 1);
    write_page(m);
    CHECK(strstr(page, "status=\"206\"} 1\n"));
    CHECK(!strstr(page, "status=\"207\""));
    CHECK(strstr(page, "status=\"other\"} 13\n"));
    metrics_free(m);
}

static void test_escapes(void)
{
    struct metrics *m = metrics_new();

    metric_count(metrics_route(m, "p", STR("GET"), STR("/\"\\\n")), 200, 1);
    CHECK(strstr(write_page(m), "route=\"/\\\"\\\\\\n\""));
    metrics_free(m);
}

static void test_is_bounded(void)
{
    struct metrics *m = metrics_new();
    struct metric_route *first = metrics_route(m, "p", STR("GET"), STR("/0")), *other = NULL;
    char route[32];

    for (int i = 1; i < METRIC_ROUTES_MAX + 100; i++) {
        snprintf(route, sizeof(route), "/%d", i);
        other = metrics_route(m, "p", STR("GET"), str_of(route));
    }
    CHECK(other == metrics_route(m, "q", STR("GET"), STR("/new")));
    CHECK(first == metrics_route(m, "p", STR("GET"), STR("/0")));
    metric_count(other, 200, 1);
    CHECK(strstr(write_page(m), "plugin=\"(others)\",method=\"\",route=\"(others)\""));
    metrics_free(m);
}

static void test_single_values(void)
{
    static const char *const labels[] = {"a", "x\"y", "b", "2", NULL};
    struct buf out = {0};

    metric_family(&out, "n", "gauge", "What.");
    metric_value(&out, "n", NULL, 1764042758);
    metric_value(&out, "n", labels, 0.25);
    CHECK(strcmp(out.data, "# HELP n What.\n# TYPE n gauge\nn 1764042758\n"
                           "n{a=\"x\\\"y\",b=\"2\"} 0.25\n") == 0);
    buf_fini(&out);
}

int main(void)
{
    test_one_series_for_one_route();
    test_bounds_are_inclusive();
    test_many_statuses();
    test_escapes();
    test_is_bounded();
    test_single_values();
    return 0;
}
