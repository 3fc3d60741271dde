/* Unpacking of a hostile .tgz or .zip into an empty folder.
 *
 * What comes out are folders and regular files below the folder, under the names that were checked;
 * anything else in the archive refuses the whole of it. Sizes are counted while they are unpacked,
 * whatever the archive says of itself. Knows nothing of plugins. Made for the thread pool: it
 * blocks, and touches nothing but the folder.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum {
    ARCHIVE_NAME_MAX = 255,  /* bytes of one part of a path */
    ARCHIVE_PATH_MAX = 1024, /* of the whole */
    ARCHIVE_DEPTH_MAX = 30,  /* parts; what is deeper a reload would not look at */
};

enum archive_form { ARCHIVE_TGZ, ARCHIVE_ZIP };

/* By the suffix: .tgz, .tar.gz, .zip, in any case. */
bool archive_form_of(struct str filename, enum archive_form *form);

struct archive_limits {
    uint64_t bytes; /* of all files together */
    size_t entries; /* files and folders, those included that are only named by what is in them */
};

/* Unpacks the regular file open at `file` into the folder open at `dir`. On failure what was
 * written stays there. Codes:
 *
 *   ARCHIVE_INVALID           not such an archive, damaged, or cut off
 *   ARCHIVE_ENCRYPTED
 *   ARCHIVE_ENTRY_PATH        absolute, "..", "\", control characters, not UTF-8, too long or deep
 *   ARCHIVE_ENTRY_TYPE        a link, a device, a pipe, a file with holes
 *   ARCHIVE_ENTRY_TWICE       two entries of one path, or a file that another needs as its folder
 *   ARCHIVE_TOO_LARGE, ARCHIVE_TOO_MANY_ENTRIES
 *   STORAGE_FULL, IO          the file cannot be read, or the folder not written
 */
bool archive_unpack(int file,
                    enum archive_form form,
                    const struct archive_limits *limits,
                    int dir,
                    struct err *err);

/* The path of an entry as it is used: without "." and empty parts, "" for the folder itself.
 * Pure; code ARCHIVE_ENTRY_PATH.
 */
bool archive_path(struct str name, char out[static ARCHIVE_PATH_MAX + 1], struct err *err);
