/* Who is going to answer a request, as far as its path tells before anybody was asked. Pure: what
 * it finds belongs to the generation and the set of apps.
 */
#pragma once

#include <stdbool.h>

#include "bind/call.h"

struct app;
struct app_set;
struct exchange;
struct generation;
struct manifest;

void target_find(const struct generation *generation,
                 const struct app_set *apps,
                 const struct exchange *x,
                 struct bind_target *target);

/* `base` is what of the path is the app's; borrowed. */
void target_set_app(const struct app *app, struct str base, struct bind_target *target);

const struct manifest *target_manifest(const struct bind_target *target); /* NULL: nobody */

/* Whether the target calls the route public; where only a `server.fetch` may answer, whether a
 * plugin that has one does.
 */
bool target_is_public(const struct generation *generation,
                      const struct app_set *apps,
                      const struct exchange *x);
