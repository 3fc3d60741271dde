/* What of libarchive is linked: the readers of tar and of zip with its directory. From its static
 * library, as the shared one brings libxml2 and ICU along: 35 MB of an image of 25, and their
 * loading. The compressions and ciphers that a zip may have besides deflate are not there.
 */
#pragma once

#include <archive.h>
#include <archive_entry.h>

struct archive *libarchive_read_tar(void);
struct archive *libarchive_read_zip(void);
