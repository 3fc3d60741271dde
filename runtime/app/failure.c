#include "app/failure.h"

#include <string.h>

#include "app/error_page.h"
#include "base/log.h"
#include "http/exchange.h"

static const struct failure {
    const char *code;
    unsigned status;
    const char *generic; /* for who may not see the message */
} failures[] = {
    {"OUT_OF_MEMORY", 500, "The plugin is out of memory"},
    {"HANDLER_TIMEOUT", 503, "The plugin computed for too long"},
    {"INTERNAL_SERVER_ERROR", 500, "Internal server error"}, /* any other */
};

static const struct failure *failure_of(const struct err *err)
{
    size_t i = 0;

    while (i + 1 < sizeof(failures) / sizeof(failures[0]) &&
           strcmp(failures[i].code, err->code) != 0)
        i++;
    return &failures[i];
}

void failure_respond(struct exchange *x, const struct err *err, const char *name, bool development)
{
    const struct failure *failure = failure_of(err);
    char message[ERR_MESSAGE_MAX], traceback[ERR_TRACE_MAX];

    if (!development) {
        exchange_respond_error(x, failure->status, failure->code, failure->generic, NULL);
        return;
    }
    memcpy(message, err->message, sizeof(message));
    memcpy(traceback, err->traceback, sizeof(traceback));
    log_mask(message);
    log_mask(traceback);
    if (error_page_wanted(x))
        error_page_respond(x, &(struct error_page){failure->status, failure->code, message,
                                                   traceback, name, err->file, err->line});
    else
        exchange_respond_error(x, failure->status, failure->code, message, traceback);
}
