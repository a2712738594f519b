/* loss.h — the row-level mathematics of phase 2: from distances to a loss and its derivatives. Pure functions
 * of doubles, each with a finite-difference test.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_TRAIN_LOSS_H
#define FKMI_TRAIN_LOSS_H

#include "prototypes/route.h"

/* Classifier: -sum_c t_c log p_c with t the smoothed one-hot of `own` over n_classes. index, slot (class of
 * each candidate), distance: n candidates, nearest first, own class among them. shift (or NULL) is added to
 * the logits (log N/S of sampled classes). g_distance receives dL/dd_j, g_theta dL/dtheta_j, g_bias dL/db_j
 * (n each). */
double fkmi_loss_nll(const struct fkmi_routing *routing, int64_t n, const int32_t *index, const int32_t *slot,
                     const double *distance, const double *shift, int32_t own, int64_t n_classes,
                     double smoothing, double *g_distance, double *g_theta, double *g_bias);
/* Regressor: mean over targets of ((y(x) - y) / std)^2. targets is k x n_targets, by prototype index.
 * g_target is n x n_targets. predicted (n_targets) may be NULL. */
double fkmi_loss_mse(const struct fkmi_routing *routing, int64_t n, const int32_t *index,
                     const double *distance, const double *targets, int64_t n_targets, const double *y,
                     const double *std, double *g_distance, double *g_theta, double *g_bias, double *g_target,
                     double *predicted);
/* Asymmetric loss of one probability (Ridnik et al. 2021): returns l, *g receives dl/dp. */
double fkmi_loss_asl(double p, bool positive, double gamma_pos, double gamma_neg, double clip, double *g);

#endif
