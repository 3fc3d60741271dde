/* Where a request comes from, as its headers and its peer tell: what the control plane's rules
 * need (SPEC 8). Pure: looks at the exchange and nothing else.
 */
#pragma once

#include <stdbool.h>

struct exchange;

/* A loopback peer that asked a loopback Host, with no sign of a proxy in between. The Host keeps
 * out a browser whose attacker made his name resolve to 127.0.0.1.
 */
bool origin_is_local(const struct exchange *x);

/* Whether a browser may have been made to send it by another site. Requests that are not a
 * browser's say nothing of where they come from, and are fine.
 */
bool origin_is_foreign(const struct exchange *x);
