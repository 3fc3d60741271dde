/* The content of a plugin's folder as one SHA-256, to tell whether it changed.
 *
 * Covers names, kinds and bytes of all files below the folder, in the order of their names.
 * Symbolic links count as their target text and are not followed.
 */
#pragma once

enum { DIGEST_TEXT = 65 };

/* Writes hex and a NUL. A file that cannot be read counts as its error. */
void digest_folder(const char *dir, char out[static DIGEST_TEXT]);

/* Takes in what else counts: the digest becomes one of itself and the text. */
void digest_add(char digest[static DIGEST_TEXT], const char *text);
