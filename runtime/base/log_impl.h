/* Private to the log: hiding secrets, and taking a call's own fields apart. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

/* `text` with every secret replaced, made in `scratch`; `text` itself when there is none in it. */
struct str mask_text(struct buf *scratch, struct str text);

/* The same for the text of a JSON value, which stays JSON. */
struct str mask_json(struct buf *scratch, struct str json);

/* One member of a JSON object's text. Both parts are raw JSON. */
struct log_field {
    struct str key, value;
};

/* Opens the text of an object; false when it is none. */
bool log_fields_open(struct str json, struct str *rest);
bool log_fields_next(struct str *rest, struct log_field *field);
