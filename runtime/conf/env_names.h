/* Names of environment variables, and which of them an app may have (SPEC 9). Pure. */
#pragma once

#include <stdbool.h>

/* Set by the runtime for each process, read by the runtime itself, or read by the loader and the
 * libraries before the sandbox is entered: neither a literal nor a permission changes these.
 */
bool env_name_is_reserved(const char *name);

/* Looks like a secret: never taken from the server's environment, whatever the manifest asks for.
 */
bool env_name_is_secret(const char *name);
