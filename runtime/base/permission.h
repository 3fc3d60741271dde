/* What a caller of the control plane may do: a set of permissions, and the roles that are such
 * sets under a name. Pure; who holds which set is data/keyring's.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum {
    PERMISSION_COUNT = 12,
    PERMISSIONS_TEXT_MAX = 256, /* of permissions_write() */
};

/* A set is an unsigned with a bit for each named permission. A plugin may ask for names of its own
 * ("todos:admin"): those share one bit, which only administrators have.
 */
extern const unsigned permissions_all;

const char *permission_name(unsigned index); /* below PERMISSION_COUNT */
unsigned permission_of(struct str name);
bool permission_known(struct str name);

/* Names with single spaces between them. Names that are not known are left out. */
unsigned permissions_read(struct str text);
void permissions_write(unsigned set, char out[static PERMISSIONS_TEXT_MAX]);

/* Whether namespaces ("*", or scopes with spaces in between) include what has this name: "@acme"
 * has
 * "@acme/shop", and names without a scope are in "*" alone.
 */
bool namespaces_include(const char *namespaces, struct str name);

enum { ROLE_COUNT = 4 };

struct role {
    const char *name;
    unsigned set;
    bool custom; /* the key brings its own set */
};

const struct role *role_at(unsigned index); /* below ROLE_COUNT */
const struct role *role_find(struct str name);
