/* What the files of struct package share. Not for other folders. */
#pragma once

#include "plugin/package.h"

/* Makes the stage in the directory `home`, which is made if it is missing. */
bool stage_open(struct package *package, const char *home, struct err *err);
void stage_close(struct package *package);

/* The directory that packages of this kind are installed into, as it is in the settings. Code
 * NO_EXTERNAL_DIR.
 */
const char *package_home(const struct package *package, struct err *err);

/* Looks for a package of `name` (of an app: and `version`) that is there already: `target`,
 * `replaces` and `old_version` tell of it; `target` stays NULL when there is none. False when it is
 * one that must not be touched.
 */
bool package_find(struct package *package, struct err *err);

/* Which of the directories `target` is in. Borrowed. */
const char *package_home_of(const struct package *package);
