/* The DIR words of a command in place of RUNTIME_PLUGIN_DIRS and RUNTIME_WORKER_DIRS. */
#pragma once

#include "conf/settings.h"

/* Each word is a plugin or an app, or a folder of these: one that holds apps and no plugin is for
 * apps. Does nothing when there are no words.
 */
void dirs_use(struct settings *settings, char *const *words);
