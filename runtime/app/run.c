/* buntime run: one request through the whole pipeline, in process and without a port. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"
#include "app/dirs.h"
#include "app/pipeline.h"
#include "app/server.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/exchange.h"

struct request {
    const char *dir, *method, *path, *body;
    struct header *headers;
    size_t header_count;
    bool sent;
    unsigned status;
};

static bool usage(void)
{
    fprintf(stderr, "usage: buntime run DIR METHOD PATH [-d BODY] [-H 'K: V']\n");
    return false;
}

/* "K: V" as a header with a lower-case name; the bytes of `text` are changed in place. */
static bool add_header(struct request *request, char *text)
{
    char *colon = strchr(text, ':');
    char *value = colon ? colon + 1 + strspn(colon + 1, " \t") : NULL;

    if (!colon || colon == text) {
        fprintf(stderr, "buntime run: -H wants 'Name: value', got \"%s\"\n", text);
        return false;
    }
    *colon = '\0';
    for (char *c = text; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    request->headers[request->header_count++] = (struct header){str_of(text), str_of(value)};
    return true;
}

static bool parse(struct request *request, char **words)
{
    const char **named[] = {&request->dir, &request->method, &request->path};
    size_t at = 0;

    for (; *words; words++) {
        const bool body = strcmp(*words, "-d") == 0, header = strcmp(*words, "-H") == 0;
        if ((body || header) && !words[1])
            return usage();
        if (body)
            request->body = *++words;
        else if (header && !add_header(request, *++words))
            return false;
        else if (!header && at < 3)
            *named[at++] = *words;
        else if (!header)
            return usage();
    }
    return at == 3 || usage();
}

static void print_response(struct exchange *x, void *owner)
{
    struct request *request = owner;
    const struct str body = exchange_res_body(x);

    request->sent = true;
    request->status = exchange_stream_failed(x) ? 500 : exchange_status(x);
    printf("HTTP/1.1 %u\n", exchange_status(x));
    for (size_t i = 0; i < exchange_res_header_count(x); i++) {
        const struct header h = exchange_res_header_at(x, i);
        printf("%.*s: %.*s\n", (int)h.name.len, h.name.at, (int)h.value.len, h.value.at);
    }
    printf("\n");
    fwrite(body.at ? body.at : "", 1, body.len, stdout);
    if (body.len > 0 && body.at[body.len - 1] != '\n')
        printf("\n");
}

static int answer(struct server *server, struct request *request)
{
    const struct exchange_init init = {
        .method = str_of(request->method),
        .target = str_of(request->path),
        .body = str_of(request->body),
        .headers = request->headers,
        .header_count = request->header_count,
        .arg = request,
    };
    struct exchange *x = exchange_new(&init, print_response);

    if (!x) {
        fprintf(stderr, "buntime run: \"%s\" is not a request path\n", request->path);
        return 2;
    }
    pipeline_request(server, x);
    while (!request->sent && loop_turn(server->loop, 1000))
        continue;
    exchange_free(x);
    return request->status < 500 ? 0 : 1;
}

static int load_and_answer(struct invocation *in, struct request *request)
{
    static struct server server;
    char *dir[] = {(char *)request->dir, NULL};
    struct err err;
    int code = 2;

    dirs_use(in->settings, dir);
    log_setup(LOG_WARN, in->settings->log_format);
    if (server_init(&server, in->settings, NULL, &err) && server_load(&server, &err))
        code = answer(&server, request);
    else
        log_err(NULL, NULL, &err);
    server_fini(&server);
    return code;
}

int command_run(struct invocation *in)
{
    struct request request = {.headers =
                                  mem_alloc(((size_t)in->count + 1) * sizeof(struct header))};
    const int code = parse(&request, in->words) ? load_and_answer(in, &request) : 2;

    free(request.headers);
    return code;
}
