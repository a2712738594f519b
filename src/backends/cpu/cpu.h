/* cpu.h — the inside of the CPU backend: a pack, rows laid out for tiles, short lists of candidates, and
 * direct distances.
 *
 * A tile gives scores, of which the largest is the nearest prototype: x.c - |c|^2/2, cos, or -|x - c|.
 * Scores are fast and a little inexact, so a scan keeps every prototype whose score lies within the
 * rounding bound of the best and lets direct distances decide. The answer is then the one that direct
 * distances to all prototypes would give, however rows and prototypes were cut into blocks.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BACKENDS_CPU_H
#define FKMI_BACKENDS_CPU_H

#include "backends/tuning.h"

/* Prototypes that are lists, once more by column: what a scan of CSR rows reads (lists_pack.c). */
struct fkmi_list_columns {
    int64_t chunk, n_chunks; /* prototypes whose scores are summed at a time */
    int64_t n_whole;         /* columns that many prototypes have: held whole, zeros and all */
    int32_t *whole;          /* dim: number among those, or -1 */
    char *panels;            /* k / wide panels x n_whole x wide reals */
    /* The others: column d of chunk c is entries [begin[c * (dim + 1) + d], begin[... + 1]), counted from base[c] */
    uint32_t *begin;
    int64_t *base;
    char *entries; /* struct fkmi_entry_32 or _64 */
    void *memory, *entry_memory;
};
/* A prototype of a chunk, and its mapped coordinate: together, since they are read together. */
struct fkmi_entry_32 {
    float value;
    uint32_t lane;
};
struct fkmi_entry_64 {
    double value;
    uint64_t lane;
};
static inline size_t fkmi_entry_size(enum fkmi_real real)
{
    return real == FKMI_REAL_F64 ? sizeof(struct fkmi_entry_64) : sizeof(struct fkmi_entry_32);
}
void fkmi_list_columns_free(struct fkmi_list_columns *columns); /* NULL is fine */

/* Rows and prototypes go through the same map before they meet in a tile: euclidean root w (x - centre),
 * cosine root w x, l1 w x. Prototypes of cosine also become unit vectors. */
struct fkmi_pack {
    struct fkmi_space space; /* feature_weights points into this pack */
    struct fkmi_space wide;  /* the same in f64 */
    fkm_dtype dtype, panel_dtype;
    int64_t dim, k, n_panels;
    bool masked, centred;
    const struct fkmi_kernels *kernels;
    const struct fkmi_tile *tile;
    double factor;       /* dim / sum of the feature weights */
    double norm;         /* largest norm of a mapped prototype (euclidean) */
    double centre_norm2; /* of the mapped centre */
    bool unusual;        /* prototypes so large or small that scores could overflow or vanish */
    const void *points;  /* k x dim, dtype: the caller's */
    char *bias;          /* n_panels x cols reals, for dense rows */
    char *sparse_bias;   /* and for sparse rows */
    char *scale;         /* cosine in half storage: 1 / norm by prototype (reals); else NULL */
    double *size;        /* k: sum w c^2, or sum w |c| for l1, unmapped */
    char *centre, *map;  /* dim reals each, or NULL: the map is map (x - centre) */
    char *weights;       /* dim reals, or NULL */
    double *feature_weights, *wide_centre; /* dim, or NULL */
    void *memory;                          /* holds all of the above */
    size_t capacity;
    struct fkmi_panels *panels;  /* the prototypes laid out for tiles, from the first scan on that needs it */
    struct fkmi_screen *screen;  /* the same prototypes as bytes, from the first scan on that they pay for */
    struct fkmi_screen *ordered; /* and in an order in which those of a panel are alike, with heads */
    struct fkmi_tuning tuning;
    bool listed; /* the prototypes are lists: there are no points and no panels */
    struct fkmi_lists lists;
    struct fkmi_list_columns *columns; /* of lists that are searched; else NULL */
};
fkm_status fkmi_cpu_pack(struct fkm_context *context, const struct fkmi_space *space, fkm_dtype dtype,
                         const void *points, int64_t k, bool masked, struct fkmi_pack **pack);
fkm_status fkmi_cpu_pack_lists(struct fkm_context *context, const struct fkmi_space *space, fkm_dtype dtype,
                               const struct fkmi_lists *lists, int64_t k, bool search,
                               struct fkmi_pack **pack);
void fkmi_cpu_pack_free(struct fkmi_pack *pack);
void fkmi_cpu_pack_trim(struct fkmi_pack *pack);

static inline const struct fkmi_vector *fkmi_pack_vector(const struct fkmi_pack *pack)
{
    return &pack->kernels->vector[pack->space.real];
}

static inline double fkmi_real_get(enum fkmi_real real, const void *reals, int64_t i)
{
    return real == FKMI_REAL_F64 ? ((const double *)reals)[i] : (double)((const float *)reals)[i];
}

/* Memory cut from one block, front to back; with base NULL it only counts. */
struct fkmi_carve {
    char *base;
    size_t used;
};
static inline void *fkmi_carve(struct fkmi_carve *carve, int64_t count, size_t size)
{
    void *at = carve->base ? carve->base + carve->used : NULL;

    carve->used += ((size_t)count * size + 63) & ~(size_t)63;
    return at;
}

/* Of functions that do no more than ask for memory ahead: compilers take those that they have not inlined for functions
 * that do nothing, and leave them out. */
#define FKMI_FETCH static inline __attribute__((always_inline))
enum { FKMI_LONG_ROW = 1024 }; /* bytes: the processor finds the rest of a longer one itself */

/* Memory that will be needed soon, and lies where nobody but us can foresee. */
FKMI_FETCH void fkmi_fetch(const void *memory, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch((const char *)memory + at);
    __builtin_prefetch((const char *)memory + bytes -
                       1); /* it need not begin where a line of the cache does */
}

/* Row i of a dense view, in its own type. */
static inline const char *fkmi_dense_row(const struct fkmi_rows *rows, int64_t i)
{
    return (const char *)rows->x + (size_t)(fkmi_row(rows, i) * rows->stride) * fkmi_dtype_size(rows->dtype);
}

/* Its first `most` bytes. */
FKMI_FETCH void fkmi_fetch_row(const struct fkmi_rows *rows, int64_t i, size_t most)
{
    const size_t bytes = (size_t)rows->dim * fkmi_dtype_size(rows->dtype);

    fkmi_fetch(fkmi_dense_row(rows, i), bytes < most ? bytes : most);
}

/* Memory of a pack that was too small for its prototypes: more of them may keep coming. */
static inline size_t fkmi_larger_capacity(size_t capacity, size_t needed)
{
    return capacity > 0 ? needed + needed / 4 : needed;
}

/* What points become before they meet rows, as reals; factor (pack.c). */
void fkmi_pack_fill_map(struct fkmi_pack *pack, const double *weights, const double *mean);
void fkmi_pack_find_norm(struct fkmi_pack *pack, const void *biases);

/* ---- prototypes laid out for tiles (panels.c) */

#define FKMI_DIMS_PER_CHUNK 256 /* coordinates of a prototype that are looked at together */

struct fkmi_panels {
    char *values;  /* n_panels x dim x cols, panel_dtype */
    char *squares; /* masked euclidean and cosine: the same of squares, reals */
};
fkm_status fkmi_panels_create(struct fkmi_panels **out);
void fkmi_panels_free(struct fkmi_panels *panels); /* NULL is fine */
/* The pack holds other prototypes from now on; no scan is under way. */
void fkmi_panels_renew(struct fkmi_panels *panels);
/* Frees them, no scan being under way; the next one that needs them makes them. */
void fkmi_panels_trim(struct fkmi_panels *panels);
/* Makes them, unless they are there. Scans on any threads may ask. */
fkm_status fkmi_panels_ready(struct fkm_context *context, const struct fkmi_pack *pack);
/* In halves, as the prototypes are. */
static inline bool fkmi_panels_are_stored(const struct fkmi_pack *pack)
{
    return fkmi_dtype_size(pack->panel_dtype) < fkmi_real_size(pack->space.real);
}

/* ---- one row and the prototypes, directly (direct.c) */

struct fkmi_direct {
    const struct fkmi_pack *pack;
    const struct fkmi_rows *rows;
    int64_t i;               /* row of the view */
    bool wide_row, has_wide; /* every distance in f64; the row stands in wide_x */
    const void *x, *a;       /* dense: reals and active weights (NULL: ones) */
    double factor;
    double *values; /* sparse: the row's values, and its size as pack->size */
    const int32_t *indices;
    int64_t n;
    double row_size;
    char *x_memory, *a_memory, *c_memory;          /* dim reals each */
    double *wide_x, *wide_a, *wide_c, wide_factor; /* dim each */
    bool wide_weighted;
};
void fkmi_direct_carve(struct fkmi_direct *direct, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                       const struct fkmi_rows *rows, int64_t most_entries);
/* From now on distances are those of row i. */
void fkmi_direct_row(struct fkmi_direct *direct, int64_t i);
/* Asks for the memory of a row and a prototype that will be needed soon. */
void fkmi_direct_fetch(const struct fkmi_direct *direct, int64_t i, int64_t j);
/* The distance of the row to prototype j: >= 0, finite and accurate whenever f64 can hold its terms. */
double fkmi_direct_distance(struct fkmi_direct *direct, int64_t j);
/* A sparse row's distance from the sums over its entries: of the distance, or the product; of the prototype's size. */
double fkmi_direct_finish(const struct fkmi_direct *direct, int64_t j, double near, double covered);
/* The same to n prototypes at once (n <= FKMI_DIRECT_MOST). */
#define FKMI_DIRECT_MOST 16
void fkmi_direct_distances(struct fkmi_direct *direct, const int32_t *index, int n, double *distance);

/* ---- rows laid out for tiles (block.c) */

/* What turns a row's scores into distances and bounds their error. */
struct fkmi_row_facts {
    double square;       /* |mapped row|^2 under the mask */
    double size;         /* bounds what the row adds to scores: its norm, or sum |x| for l1 */
    double factor;       /* distances are multiplied by this */
    double rounding;     /* error of a score, relative to the size of what was added */
    double slack, slope; /* a rival loses for certain when it scores slack + slope |best| less */
    bool unusual;        /* scores could overflow or vanish: use direct distances */
};

struct fkmi_block {
    int64_t n, n_tiles;
    char *x, *m;         /* dense: n_tiles x dim x rows reals; m is the mask */
    const void **values; /* sparse: entries by row */
    const int32_t **indices;
    int64_t *n_entries;
    uint8_t *skipped; /* n: rows whose scores nobody wants any more, of points */
    char *value_memory;
    struct fkmi_row_facts *facts;
    char *staging, *staging_m; /* rows x dim reals */
    bool sparse, masked;
    int64_t next, next_end, next_step; /* rows of the view to fetch, so many at a turn */
    /* Prototypes that are lists: scores of the rows against a chunk, and the rows' entries in two parts. */
    char *sums; /* n x chunk reals */
    int64_t sums_chunk;
    char *part_values;     /* by row: in whole columns, then in the others */
    int32_t *part_columns; /* numbers of whole columns; columns */
    int64_t *part_begin;   /* n + 1 */
    int64_t *n_whole;      /* n */
};
/* Room for up to `n` rows with at most n_entries entries together. */
void fkmi_block_carve(struct fkmi_block *block, struct fkmi_carve *carve, const struct fkmi_pack *pack,
                      const struct fkmi_rows *rows, int64_t n, int64_t n_entries);
/* Lays out rows picked[0 .. n) of the view, or first .. first + n when picked is NULL. */
void fkmi_block_load(struct fkmi_block *block, const struct fkmi_pack *pack, const struct fkmi_rows *rows,
                     const int64_t *picked, int64_t first, int64_t n);
/* n dense rows from `first` on will be wanted next: fetches bring them into the cache, in n_turns of them. Rows of a
 * shuffled batch are anywhere in memory, which nobody but us can foresee. */
void fkmi_block_expect(struct fkmi_block *block, const struct fkmi_rows *rows, int64_t first, int64_t n,
                       int64_t n_turns);
void fkmi_block_fetch(struct fkmi_block *block, const struct fkmi_rows *rows);
/* Scores of tile t against a panel, rows x cols reals; other is room for as many again. */
void fkmi_block_scores(const struct fkmi_block *block, const struct fkmi_pack *pack, int64_t t, int64_t panel,
                       void *scores, void *other);
/* Scores of sparse row i of the block against a panel of points once more, in f64: cols of them, which differ from
 * exact ones by what rounding made of the panel's and the row's numbers alone. And what they mean, for rows that
 * are as usual. */
void fkmi_block_fine_scores(const struct fkmi_block *block, const struct fkmi_pack *pack, int64_t i,
                            int64_t panel, double *scores);
struct fkmi_row_facts fkmi_block_fine_facts(const struct fkmi_block *block, const struct fkmi_pack *pack,
                                            int64_t i);
/* Sums of all rows for the chunk that holds the panel, unless they are there (lists_sums.c). */
void fkmi_block_sums(struct fkmi_block *block, const struct fkmi_pack *pack, int64_t panel);
void fkmi_block_split(struct fkmi_block *block, const struct fkmi_pack *pack);
/* Prototypes scoring at most this are farther than one that scores `score`; the first is quick, the second
 * close even when a few prototypes have norms far above the others'. */
static inline double fkmi_score_threshold(const struct fkmi_row_facts *facts, double score)
{
    return score - facts->slack - facts->slope * (score < 0 ? -score : score);
}
double fkmi_score_close_threshold(const struct fkmi_pack *pack, const struct fkmi_row_facts *facts,
                                  double score);

/* ---- the best few of a row (shortlist.c) */

struct fkmi_candidate {
    double score;
    int32_t index;
};
#define FKMI_RIVALS 8
/* The `most` best, as a heap with the worst on top, and rivals within rounding of the worst of them. */
struct fkmi_shortlist {
    double threshold; /* scores up to this cannot win */
    int64_t n;
    int32_t n_rivals;
    bool close;   /* the threshold is the close one: the quick one let too many through */
    bool crowded; /* more rivals than fit: only direct distances to all can tell */
    struct fkmi_candidate rival[FKMI_RIVALS];
    struct fkmi_candidate *best;
};
void fkmi_shortlist_start(struct fkmi_shortlist *list, struct fkmi_candidate *best);
void fkmi_shortlist_offer(struct fkmi_shortlist *list, int64_t most, const struct fkmi_pack *pack,
                          const struct fkmi_row_facts *facts, double score, int64_t index);
/* Makes the list of n candidates with different indices, `worst` being the `most`-th largest of their scores (reals), when
 * it was offered none and no more than the `most` best reach that. False where that is not so: it is as it was. */
bool fkmi_shortlist_fill(struct fkmi_shortlist *list, int64_t most, const struct fkmi_pack *pack,
                         const struct fkmi_row_facts *facts, const void *score, const int32_t *index, int n,
                         double worst);
/* A candidate of direct distances: score is minus the distance. Keeps the `most` best, nothing else. */
void fkmi_shortlist_keep(struct fkmi_shortlist *list, int64_t most, struct fkmi_candidate candidate);
/* Offers what another list of the same row kept. */
void fkmi_shortlist_merge(struct fkmi_shortlist *list, int64_t most, const struct fkmi_pack *pack,
                          const struct fkmi_row_facts *facts, const struct fkmi_shortlist *other);
/* Prototypes [begin, end) but for [skip_begin, skip_end). */
struct fkmi_range {
    int64_t begin, end, skip_begin, skip_end;
};
/* Direct distances decide among what the list kept, or, when that cannot be enough, among the whole range.
 * The list is exact from then on, in any order. */
void fkmi_shortlist_judge(struct fkmi_shortlist *list, int64_t most, const struct fkmi_row_facts *facts,
                          struct fkmi_direct *direct, const struct fkmi_range *range);
/* The same without any scores. */
void fkmi_shortlist_judge_range(struct fkmi_shortlist *list, int64_t most, struct fkmi_direct *direct,
                                const struct fkmi_range *range);
/* Joins two exact lists. */
void fkmi_shortlist_join(struct fkmi_shortlist *list, int64_t most, const struct fkmi_shortlist *other);
/* Writes an exact list to `width` places, nearest first. */
void fkmi_shortlist_write(struct fkmi_shortlist *list, int64_t width, int32_t *index, double *distance);

fkm_status fkmi_cpu_scan(struct fkm_context *context, const struct fkmi_rows *rows,
                         const struct fkmi_pack *pack, const struct fkmi_scan *scan);
/* The nearest of each row's own class, prototypes being lists (lists_own.c). */
fkm_status fkmi_cpu_scan_own_lists(struct fkm_context *context, const struct fkmi_rows *rows,
                                   const struct fkmi_pack *pack, const struct fkmi_scan *scan,
                                   int64_t stride);
/* Rows that are not CSR (lists_rows.c); width: places written by row. */
fkm_status fkmi_cpu_scan_dense_lists(struct fkm_context *context, const struct fkmi_rows *rows,
                                     const struct fkmi_pack *pack, const struct fkmi_scan *scan,
                                     int64_t width);
fkm_status fkmi_cpu_rank(struct fkm_context *context, const struct fkmi_rows *rows,
                         const struct fkmi_pack *pack, const int64_t *candidates, int64_t n_candidates,
                         int64_t width, int32_t *index, double *distance);
fkm_status fkmi_cpu_accumulate(struct fkm_context *context, const struct fkmi_rows *rows,
                               const struct fkmi_space *space, const int32_t *index, const double *factor,
                               int64_t first, int64_t k, double *sum, double *mass, double *ages);

#endif
