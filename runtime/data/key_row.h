/* A key as both stores select it: digest (a blob), id, name, prefix, role, permissions, namespaces,
 * creator (texts), created, expires, used, revoked (integers). A session comes the same way: its
 * key's id for the id, and nothing where it has nothing.
 */
#pragma once

#include "base/buf.h"
#include "data/key_store.h"

/* Reads the flat row at `at`; returns what is behind it. The texts lie in `text`, which is reset
 * first; the digest is the row's, NULL when it is none.
 */
const char *key_row_read(const char *at, struct buf *text, struct key_record *key);

struct session_record key_row_session(const struct key_record *row);
