/* What the two files of multipart share: the texts at the head of a part. */
#pragma once

#include "http/multipart.h"

/* Reads the lines of a head. `text` has room for as many bytes as the head has; the part's texts
 * are put there. False when it has no name, or is no form data.
 */
bool multipart_read_head(struct str head, char *text, struct multipart_part *part);
