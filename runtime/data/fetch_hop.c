/* One request of a fetch: a redirect makes another. */
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "data/fetch_impl.h"

/* --- URLs --- */

static bool is_web(CURLU *url)
{
    char *scheme = NULL;
    bool web = false;

    if (curl.url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK)
        web = strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0;
    curl.free(scheme);
    return web;
}

CURLU *fetch_parse_url(const char *text, struct err *err)
{
    CURLU *url = curl.url();
    const CURLUcode rc = curl.url_set(url, CURLUPART_URL, text, CURLU_URLENCODE);

    /* The text stays out of the message: it may hold a password. */
    if (rc == CURLUE_OK && is_web(url))
        return url;
    if (rc == CURLUE_OK || rc == CURLUE_UNSUPPORTED_SCHEME)
        err_set(err, "INVALID_URL", "the URL must begin with http:// or https://");
    else
        err_set(err, "INVALID_URL", "the URL is not one: %s", curl.url_strerror(rc));
    curl.url_cleanup(url);
    return NULL;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *of_a = NULL, *of_b = NULL;
    bool same;

    curl.url_get(a, part, &of_a, CURLU_DEFAULT_PORT);
    curl.url_get(b, part, &of_b, CURLU_DEFAULT_PORT);
    same = of_a && of_b && strcasecmp(of_a, of_b) == 0;
    curl.free(of_a);
    curl.free(of_b);
    return same;
}

static bool same_origin(CURLU *a, CURLU *b)
{
    return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) &&
           same_part(a, b, CURLUPART_PORT);
}

/* libcurl writes URLs anew, which is dear: where nothing has to be hidden or resolved, what the
 * caller gave will do.
 */
char *fetch_url(const struct fetch *f)
{
    const bool moved = f->redirects_left != f->redirects;
    char *text = NULL, *copy;
    CURLU *url;

    if (!moved && !strchr(f->given, '@') && !strchr(f->given, '#'))
        return mem_copy(f->given);
    url = curl.url_dup(f->url);
    curl.url_set(url, CURLUPART_USER, NULL, 0);
    curl.url_set(url, CURLUPART_PASSWORD, NULL, 0);
    curl.url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    curl.url_get(url, CURLUPART_URL, &text, 0);
    copy = mem_copy(text ? text : "");
    curl.free(text);
    curl.url_cleanup(url);
    return copy;
}

/* --- headers --- */

static bool names(const char *line, const char *name)
{
    const size_t len = strlen(name);

    return strncasecmp(line, name, len) == 0 && (line[len] == ':' || line[len] == ';');
}

static bool has(const struct curl_slist *list, const char *name)
{
    for (; list; list = list->next) {
        if (names(list->data, name))
            return true;
    }
    return false;
}

struct curl_slist *fetch_make_headers(const struct fetch_options *o)
{
    struct curl_slist *list = NULL;
    struct buf line = {0};

    for (size_t i = 0; i < o->header_count; i++) {
        const struct fetch_header *h = &o->headers[i];
        buf_reset(&line);
        buf_add_str(&line, h->name);
        buf_puts(&line, h->value.len ? ": " : ";"); /* libcurl's way to say that it is empty */
        buf_add_str(&line, h->value);
        list = curl.slist_append(list, line.data);
    }
    buf_fini(&line);
    /* Without a colon's value these two stop libcurl from adding its own. */
    if (o->body_kind != FETCH_NO_BODY && !has(list, "expect"))
        list = curl.slist_append(list, "Expect:");
    if (o->body_kind != FETCH_NO_BODY && !has(list, "content-type"))
        list = curl.slist_append(list, "Content-Type:");
    return list;
}

static void drop_headers(struct fetch *f, const char *const *unwanted)
{
    struct curl_slist *kept = NULL;

    for (const struct curl_slist *line = f->headers; line; line = line->next) {
        bool keep = true;
        for (size_t i = 0; unwanted[i]; i++)
            keep = keep && !names(line->data, unwanted[i]);
        if (keep)
            kept = curl.slist_append(kept, line->data);
    }
    curl.slist_free_all(f->headers);
    f->headers = kept;
}

/* --- redirects --- */

/* As browsers do: 303 asks for another resource, and so do 301 and 302 after a POST. */
static bool becomes_get(const struct fetch *f)
{
    if (f->status == 303)
        return strcmp(f->method, "HEAD") != 0;
    return (f->status == 301 || f->status == 302) && strcmp(f->method, "POST") == 0;
}

static void become_get(struct fetch *f)
{
    static const char *const unwanted[] = {"content-type",     "content-length", "content-encoding",
                                           "content-language", "expect",         NULL};

    free(f->method);
    f->method = mem_copy("GET");
    f->body_kind = FETCH_NO_BODY;
    buf_fini(&f->body);
    drop_headers(f, unwanted);
}

static CURLU *resolve(struct fetch *f)
{
    const struct str location = fetch_find_header(f, STR("location"));
    char *text = mem_copy_n(location.at, location.len);
    CURLU *url = curl.url_dup(f->url);
    const CURLUcode rc = curl.url_set(url, CURLUPART_URL, text, CURLU_URLENCODE);

    free(text);
    if (rc == CURLUE_OK && is_web(url))
        return url;
    fetch_fail(f, "REDIRECT_FAILED", "redirected to what is no http or https URL");
    curl.url_cleanup(url);
    return NULL;
}

/* Credentials stay where they were given for. */
static void move_to(struct fetch *f, CURLU *url)
{
    static const char *const unwanted[] = {"authorization", "cookie", "proxy-authorization", "host",
                                           NULL};

    if (!same_origin(f->url, url))
        drop_headers(f, unwanted);
    curl.url_cleanup(f->url);
    f->url = url;
}

bool fetch_hop_redirect(struct fetch *f)
{
    CURLU *url;

    if (f->redirects_left == 0) {
        fetch_fail(f, "TOO_MANY_REDIRECTS", "redirected more than %u times", f->redirects);
        return false;
    }
    f->redirects_left--;
    url = resolve(f);
    if (!url)
        return false;
    if (becomes_get(f))
        become_get(f);
    if (f->body_kind == FETCH_CHUNKS) {
        fetch_fail(f, "REDIRECT_FAILED", "redirected, but a body of chunks cannot be sent again");
        curl.url_cleanup(url);
        return false;
    }
    move_to(f, url);
    f->redirecting = f->has_head = false;
    f->received_total = 0;
    buf_reset(&f->head);
    return true;
}

/* --- what libcurl is told --- */

static void set_method(struct fetch *f)
{
    CURL *e = f->easy;

    if (strcmp(f->method, "HEAD") == 0)
        curl.easy_setopt(e, CURLOPT_NOBODY, 1L);
    else if (strcmp(f->method, "GET") != 0 || f->body_kind != FETCH_NO_BODY)
        curl.easy_setopt(e, CURLOPT_CUSTOMREQUEST, f->method);
}

static void set_body(struct fetch *f)
{
    const bool sends_none = strcmp(f->method, "PUT") == 0 || strcmp(f->method, "POST") == 0 ||
                            strcmp(f->method, "PATCH") == 0;
    CURL *e = f->easy;

    if (f->body_kind == FETCH_CHUNKS) {
        curl.easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl.easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)f->body_size);
        curl.easy_setopt(e, CURLOPT_READFUNCTION, fetch_on_send);
        curl.easy_setopt(e, CURLOPT_READDATA, f);
    } else if (f->body_kind == FETCH_TEXT || sends_none) { /* "Content-Length: 0" is due, too */
        curl.easy_setopt(e, CURLOPT_POST, 1L);
        curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.len);
        curl.easy_setopt(e, CURLOPT_POSTFIELDS, f->body.data ? f->body.data : "");
    }
}

static void set_receiving(struct fetch *f)
{
    const bool counts = f->max_size < INT64_MAX && strcmp(f->method, "HEAD") != 0;
    CURL *e = f->easy;

    curl.easy_setopt(e, CURLOPT_HEADERDATA, f);
    curl.easy_setopt(e, CURLOPT_WRITEDATA, f);
    f->encoded_by_caller = has(f->headers, "accept-encoding");
    if (!f->encoded_by_caller)
        curl.easy_setopt(e, CURLOPT_ACCEPT_ENCODING, ""); /* all that it can decode */
    if (counts && f->max_size > 0)
        curl.easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)f->max_size);
}

/* Many at once share a connection if the server speaks HTTP/2, which the handshake of the first
 * tells. Without TLS only its answer would tell, and that may take long.
 */
static void set_sharing(struct fetch *f)
{
    char *scheme = NULL;

    if (curl.url_get(f->url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        strcmp(scheme, "https") == 0)
        curl.easy_setopt(f->easy, CURLOPT_PIPEWAIT, 1L);
    curl.free(scheme);
}

bool fetch_hop_start(struct fetch *f)
{
    CURLMcode rc;

    f->easy = fetcher_take_easy(f->fetcher);
    f->detail[0] = '\0';
    curl.easy_setopt(f->easy, CURLOPT_PRIVATE, f);
    curl.easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->detail);
    curl.easy_setopt(f->easy, CURLOPT_CURLU, f->url);
    curl.easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
    set_body(f);
    set_method(f);
    set_receiving(f);
    set_sharing(f);
    rc = curl.multi_add_handle(f->fetcher->multi, f->easy);
    if (rc == CURLM_OK)
        return true;
    fetch_fail(f, "FETCH_FAILED", "%s", curl.multi_strerror(rc));
    return false;
}

void fetch_hop_stop(struct fetch *f)
{
    CURL *easy = f->easy;

    if (!easy)
        return;
    f->easy = NULL;
    curl.multi_remove_handle(f->fetcher->multi, easy);
    fetcher_give_easy(f->fetcher, easy);
}
