/* The parts of the sandbox that speak to one kernel interface each. Ours alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "worker/sandbox.h"

/* Landlock's version, which tells what it can hold back; 0: there is none. */
enum { LANDLOCK_HAS_TRUNCATE = 3, LANDLOCK_HAS_NET = 4, LANDLOCK_HAS_SCOPES = 6 };
int landlock_version(void);
/* Files, and with later versions TCP and signals. Only for a process with one thread. */
bool landlock_enter(const struct sandbox *sandbox, int version, struct err *err);

bool calls_supported(void);
/* `truncate_held`: Landlock sees truncation, so that openat2(), whose flags no filter can see, may
 * be allowed.
 */
bool calls_enter(const struct sandbox *sandbox, bool truncate_held, struct err *err);
bool calls_seal(struct err *err);
