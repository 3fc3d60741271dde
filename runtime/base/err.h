/* Errors are values.
 *
 * A function that can fail takes a `struct err *` last and returns false or NULL.
 * On failure it has filled the error exactly once; on success it has not touched it.
 * The message is a sentence a plugin author can act on. A layer either returns an
 * error or logs it, never both; only app/ logs.
 *
 * The struct holds no memory of its own: it lives on the stack and needs no fini.
 */
#pragma once

#include <stdbool.h>

#if defined(__GNUC__)
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define PRINTF_LIKE(fmt, args)
#endif

enum {
    ERR_MESSAGE_MAX = 2048,
    ERR_FILE_MAX = 512,
    ERR_TRACE_MAX = 8192,
};

struct err {
    char code[40];                 /* SCREAMING_SNAKE, as the control plane shows it */
    char message[ERR_MESSAGE_MAX]; /* longer text is cut and ends in "..." */
    char file[ERR_FILE_MAX];       /* "" when no file of the user's is concerned */
    unsigned line;                 /* from 1; 0 when unknown */
    char traceback[ERR_TRACE_MAX]; /* "" when there is none */
};

/* Makes `err` an empty error: every text "". The setters below do it themselves. */
void err_clear(struct err *err);

/* The setters return false, so a caller can write `return err_set(...)`. */
bool err_set(struct err *err, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* For text the user wrote: sets file and line, and prefixes the message "file:line: ".
 * The code is "INVALID".
 */
bool err_at(struct err *err, const char *file, unsigned line, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Adds context in front of the message of an error already set: "context: message". */
bool err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
