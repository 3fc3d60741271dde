/* Inside of libh2o's HTTP/2 connections and streams, without its warnings being ours. The layout is
 * that of libh2o 2.2, whose headers are installed with it.
 */
#pragma once

#include "http/h2o.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wshadow"
#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#pragma GCC diagnostic pop
