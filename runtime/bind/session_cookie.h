/* The cookie of a session of the control plane, in a request. It opens the control plane, so it is
 * taken out of the headers before plugins and apps see these.
 */
#pragma once

#include "base/str.h"

struct exchange;

#define SESSION_COOKIE "buntime_session"

/* Moves it, and all others of its name, from the Cookie headers to the exchange's token: the first
 * counts.
 */
void session_cookie_take(struct exchange *x);
