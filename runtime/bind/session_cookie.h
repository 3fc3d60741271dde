/* The cookie of a session of the control plane, in a request. */
#pragma once

#include "base/str.h"

struct exchange;

#define SESSION_COOKIE "buntime_session"

/* The first of that name; absent if there is none. */
struct str session_cookie(const struct exchange *x);
