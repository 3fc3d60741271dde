/* The DIR words of a command in place of RUNTIME_PLUGIN_DIRS. */
#pragma once

#include "conf/settings.h"

/* Does nothing when there are no words. */
void dirs_use(struct settings *settings, char *const *words);
