#include "app/error_page.h"

#include <string.h>

#include "base/buf.h"
#include "http/exchange.h"

static const char style[] =
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#fafafa;color:#222}"
    "main{max-width:60rem;margin:0 auto;padding:2rem 1rem}"
    "h1{font-size:1.25rem;color:#b00020;white-space:pre-wrap;overflow-wrap:anywhere}"
    "dt{float:left;clear:left;width:7rem;color:#666}dd{margin:0 0 0 7rem;overflow-wrap:anywhere}"
    "pre{background:#fff;border:1px solid #ddd;padding:1rem;overflow:auto;font-size:.85rem}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}"
    "h1{color:#ff8a80}dt{color:#999}pre{background:#222;border-color:#444}}";

/* --- what the client accepts --- */

static struct str trim(struct str s)
{
    while (s.len > 0 && (s.at[0] == ' ' || s.at[0] == '\t')) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static struct str take_until(struct str *rest, char mark)
{
    const char *end = rest->len ? memchr(rest->at, mark, rest->len) : NULL;
    const struct str part = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
    const size_t used = end ? part.len + 1 : part.len;

    rest->at += used;
    rest->len -= used;
    return trim(part);
}

/* "q=0.8" in thousandths; anything else is 1000. */
static unsigned quality_of(struct str parameter)
{
    unsigned quality, unit = 100;

    if (parameter.len < 3 || (parameter.at[0] | 0x20) != 'q' || parameter.at[1] != '=')
        return 1000;
    quality = parameter.at[2] == '0' ? 0 : 1000;
    for (size_t i = 4; i < parameter.len && quality < 1000 && unit > 0; i++, unit /= 10) {
        if (parameter.at[i] < '0' || parameter.at[i] > '9')
            break;
        quality += (unsigned)(parameter.at[i] - '0') * unit;
    }
    return quality;
}

/* How much the client wants `type`: the closest of its ranges counts. */
static unsigned quality(struct str accept, struct str type, struct str group)
{
    unsigned best = 0, closeness = 0;

    while (accept.len > 0) {
        struct str item = take_until(&accept, ',');
        const struct str range = take_until(&item, ';');
        const unsigned close = str_equal_nocase(range, type)         ? 3
                               : str_equal_nocase(range, group)      ? 2
                               : str_equal_nocase(range, STR("*/*")) ? 1
                                                                     : 0;
        unsigned q = 1000;
        while (item.len > 0 && q == 1000)
            q = quality_of(take_until(&item, ';'));
        if (close > closeness) {
            closeness = close;
            best = q;
        }
    }
    return best;
}

bool error_page_wanted(const struct exchange *x)
{
    const struct str accept = exchange_header(x, STR("accept"));

    return quality(accept, STR("text/html"), STR("text/*")) >
           quality(accept, STR("application/json"), STR("application/*"));
}

/* --- the page --- */

static const char *entity_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void add_text(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        const char *entity = entity_of(text.at[i]);
        if (entity)
            buf_puts(out, entity);
        else
            buf_putc(out, text.at[i]);
    }
}

static void add_fact(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, "<dt>%s</dt><dd>", name);
    add_text(out, value);
    buf_puts(out, "</dd>");
}

static void add_place(struct buf *out, const struct error_page *page)
{
    struct buf place = {0};

    if (!*page->file)
        return;
    buf_printf(&place, "%s:%u", page->file, page->line);
    add_fact(out, "Place", buf_str(&place));
    buf_fini(&place);
}

static void print_page(struct buf *out, struct exchange *x, const struct error_page *page)
{
    buf_puts(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    buf_printf(out, "%u ", page->status);
    add_text(out, str_of(page->code));
    buf_printf(out, "</title><style>%s</style></head><body><main><h1>", style);
    add_text(out, str_of(page->message));
    buf_puts(out, "</h1><dl>");
    add_fact(out, "Plugin", str_of(page->plugin));
    add_place(out, page);
    add_fact(out, "Code", str_of(page->code));
    add_fact(out, "Request", exchange_method(x));
    add_fact(out, "Path", exchange_path(x));
    add_fact(out, "Request id", exchange_id(x));
    buf_puts(out, "</dl><pre>");
    add_text(out, str_of(page->traceback));
    buf_puts(out, "</pre></main></body></html>\n");
}

void error_page_respond(struct exchange *x, const struct error_page *page)
{
    struct buf html = {0};

    print_page(&html, x, page);
    exchange_respond(x, page->status);
    exchange_res_add_header(x, STR("content-type"), STR("text/html; charset=utf-8"));
    exchange_res_add_header(x, STR("content-security-policy"),
                            STR("default-src 'none'; style-src 'unsafe-inline'; "
                                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
    exchange_res_add_header(x, STR("x-content-type-options"), STR("nosniff"));
    exchange_res_add_header(x, STR("cache-control"), STR("no-store"));
    exchange_res_add_header(x, STR("vary"), STR("accept"));
    exchange_res_set_body(x, buf_str(&html));
    buf_fini(&html);
}
