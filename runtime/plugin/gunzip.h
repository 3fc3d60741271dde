/* A gzip file, unpacked while it is read. Every checksum and length is checked, and whether
 * something is missing at the end, as far as it is read. Zeros behind the end are padding.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct gunzip;

struct gunzip *gunzip_open(int file);     /* from its start; the file stays the caller's */
void gunzip_close(struct gunzip *gunzip); /* NULL is fine */

/* Up to `len` bytes; 0 at a sound end; -1 with `err`: ARCHIVE_INVALID, IO. */
ssize_t gunzip_read(struct gunzip *gunzip, void *out, size_t len, struct err *err);
