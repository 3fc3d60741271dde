/* What is wrong with the user's files: a list, so that everything is told at once.
 * The caller owns the struct; `{0}` is an empty list.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct problem {
    bool warning;          /* false: an error, the plugin fails */
    char *code;            /* "MANIFEST_INVALID", "CONFIG_INVALID", … */
    char *file;            /* as found from the working directory; NULL when it is about no file */
    unsigned line, column; /* 0: about the whole file */
    char *message;         /* without the place; one line: control characters are "?" */
};

struct problems {
    struct problem *items;
    size_t len, errors;
};

void problems_add(struct problems *list,
                  bool warning,
                  const char *code,
                  const char *file,
                  unsigned line,
                  unsigned column,
                  const char *fmt,
                  ...) PRINTF_LIKE(7, 8);
void problems_vadd(struct problems *list,
                   bool warning,
                   const char *code,
                   const char *file,
                   unsigned line,
                   unsigned column,
                   const char *fmt,
                   va_list args);

/* Orders what was added since the list had `from` items by its place in the file. */
void problems_sort(struct problems *list, size_t from);
void problems_fini(struct problems *list);

/* "file:line:column: message", without the parts that are 0. Freed by the caller. */
char *problem_text(const struct problem *problem);

/* The first error of the list as an err: code, file, line, message = problem_text(); further
 * errors follow on lines of their own in the message. True, and nothing touched, when there are
 * no errors.
 */
bool problems_err(const struct problems *list, struct err *err);
