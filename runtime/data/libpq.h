/* libpq, loaded when it is first wanted: with the twenty libraries that it brings (Kerberos, LDAP,
 * GnuTLS …) each process would start 5 ms later, the supervisor and workers included.
 */
#pragma once

#include <stdbool.h>

#include <libpq-fe.h>

#include "base/err.h"

#define LIBPQ_FUNCTIONS(X) \
    X(cancel)              \
    X(clear)               \
    X(cmdStatus)           \
    X(cmdTuples)           \
    X(connectPoll)         \
    X(connectStartParams)  \
    X(conninfoFree)        \
    X(conninfoParse)       \
    X(consumeInput)        \
    X(errorMessage)        \
    X(finish)              \
    X(flush)               \
    X(fname)               \
    X(freeCancel)          \
    X(freemem)             \
    X(ftype)               \
    X(getCancel)           \
    X(getResult)           \
    X(getisnull)           \
    X(getlength)           \
    X(getvalue)            \
    X(isBusy)              \
    X(nfields)             \
    X(notifies)            \
    X(resultErrorField)    \
    X(resultErrorMessage)  \
    X(resultStatus)        \
    X(sendPrepare)         \
    X(sendQuery)           \
    X(sendQueryParams)     \
    X(sendQueryPrepared)   \
    X(setNoticeProcessor)  \
    X(setSingleRowMode)    \
    X(setnonblocking)      \
    X(socket)              \
    X(status)              \
    X(transactionStatus)   \
    X(unescapeBytea)

#define LIBPQ_POINTER(name) __typeof__(&PQ##name) name;

/* PQconnectPoll() is pq.connectPoll(), and so on. Written once, by pq_load(). */
extern struct libpq {
    LIBPQ_FUNCTIONS(LIBPQ_POINTER)
} pq;

bool pq_load(struct err *err); /* no-op when it is there already */
