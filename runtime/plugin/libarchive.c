#include "plugin/libarchive.h"

#include <stddef.h>

struct archive *libarchive_read_tar(void)
{
    struct archive *in = archive_read_new();

    archive_read_support_format_tar(in);
    return in;
}

struct archive *libarchive_read_zip(void)
{
    struct archive *in = archive_read_new();

    archive_read_support_format_zip_seekable(in);
    return in;
}

/* Stands in for a function of a library that is not linked: it fails, which libarchive tells as an
 * archive that it cannot read. Hidden, so that nobody else finds it, above all not libraries that
 * are loaded later and mean the real one.
 */
#define ABSENT(type, name, failure)                        \
    type name(void) __attribute__((visibility("hidden"))); \
    type name(void)                                        \
    {                                                      \
        return (type)(failure);                            \
    }

ABSENT(int, BZ2_bzDecompress, -1)
ABSENT(int, BZ2_bzDecompressEnd, -1)
ABSENT(int, BZ2_bzDecompressInit, -1)
ABSENT(int, lzma_alone_decoder, 5)
ABSENT(int, lzma_code, 5)
ABSENT(int, lzma_end, 0)
ABSENT(int, lzma_stream_decoder, 5)
ABSENT(void *, ZSTD_createDStream, NULL)
ABSENT(size_t, ZSTD_decompressStream, -1)
ABSENT(size_t, ZSTD_DStreamOutSize, 0)
ABSENT(size_t, ZSTD_freeDStream, 0)
ABSENT(const char *, ZSTD_getErrorName, "zstd is not supported")
ABSENT(size_t, ZSTD_initDStream, -1)
ABSENT(unsigned, ZSTD_isError, 1)
ABSENT(int, nettle_aes128_encrypt, 0)
ABSENT(int, nettle_aes128_set_encrypt_key, 0)
ABSENT(int, nettle_aes192_encrypt, 0)
ABSENT(int, nettle_aes192_set_encrypt_key, 0)
ABSENT(int, nettle_aes256_encrypt, 0)
ABSENT(int, nettle_aes256_set_encrypt_key, 0)
ABSENT(int, nettle_hmac_sha1_digest, 0)
ABSENT(int, nettle_hmac_sha1_set_key, 0)
ABSENT(int, nettle_hmac_sha1_update, 0)
ABSENT(int, nettle_pbkdf2_hmac_sha1, 0)
