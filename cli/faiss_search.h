/* faiss_search.h — the search behind --use-faiss, in a build with FKM_WITH_FAISS.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_FAISS_SEARCH_H
#define FKM_CLI_FAISS_SEARCH_H

#include "fastkmeans/fastkmeans.h"

#ifdef __cplusplus
extern "C" {
#endif
/* Models of this context search by faiss. */
fkm_status faiss_search_set(fkm_context *context);
#ifdef __cplusplus
}
#endif

#endif
