/* What is demanded of an HTTP/2 request beyond what h2o demands: the counterpart of http/head. */
#pragma once

#include "http/h2o.h"
#include "http/head.h"

extern const struct refusal http2_bad_length;

/* What to refuse the request for, or NULL. */
const struct refusal *http2_head_check(const h2o_req_t *req);

/* Cookies may come in several headers; everybody expects one. */
void http2_join_cookies(h2o_req_t *req);
