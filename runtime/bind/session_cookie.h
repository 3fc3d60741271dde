/* The cookie of a session of the control plane, in a request. It opens the control plane, so it is
 * taken out of the headers before plugins and apps see these.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct buf;
struct exchange;

#define SESSION_COOKIE "buntime_session"

/* Moves it, and all others of its name, from the Cookie headers to the exchange's token: the first
 * counts.
 */
void session_cookie_take(struct exchange *x);

/* Adds the pairs of a header to `rest`, those of the session aside; the value of the first of these
 * is `*token` unless it was set before. Whether there was one.
 */
bool session_cookie_sort(struct str header, struct str *token, struct buf *rest);
