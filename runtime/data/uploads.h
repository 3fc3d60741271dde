/* Files that a client sent, in a hidden folder of a data folder, under names of ours.
 *
 * Each is locked as long as its descriptor is open, so that what a process that died has left can
 * be told from what another is still using. As in files.h: these block, and give 0 or an errno.
 */
#pragma once

enum { UPLOAD_PATH_MAX = 64 };

/* A new, empty file; its path below the root goes to `path`. Makes the folder. */
int uploads_create(int root, char path[static UPLOAD_PATH_MAX], int *fd);

/* Removes what nobody uses. */
void uploads_sweep(int root);
