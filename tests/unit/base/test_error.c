/* test_error.c — messages belong to their thread; statuses have names.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <pthread.h>

#include "support/test.h"

TEST(a_message_names_the_thing_and_the_numbers)
{
    CHECK_STATUS(FKM_EINVAL, fkmi_fail(FKM_EINVAL, "batch has %d columns, the model expects %d", 12, 10));
    CHECK_TEXT("batch has 12 columns, the model expects 10", fkm_last_error());
}

TEST(words_can_be_put_in_front_of_a_message)
{
    fkmi_fail(FKM_EIO, "disk full");
    CHECK_STATUS(FKM_EIO, fkmi_fail_within(FKM_EIO, "eval"));
    CHECK_TEXT("eval: disk full", fkm_last_error());
    fkmi_fail(FKM_EIO, "%s, again", fkm_last_error()); /* an argument may be the message itself */
    CHECK_TEXT("eval: disk full, again", fkm_last_error());
}

TEST(a_long_message_is_cut)
{
    char words[3 * FKMI_MESSAGE_BYTES];

    memset(words, 'x', sizeof words);
    words[sizeof words - 1] = '\0';
    fkmi_fail(FKM_EINVAL, "%s", words);
    CHECK_INT(FKMI_MESSAGE_BYTES - 1, strlen(fkm_last_error()));
}

static void *fail_elsewhere(void *first)
{
    *(bool *)first = fkm_last_error()[0] == '\0';
    fkmi_fail(FKM_EINVAL, "elsewhere");
    return NULL;
}

TEST(messages_belong_to_their_thread)
{
    pthread_t thread;
    bool was_empty = false;

    fkmi_fail(FKM_EINVAL, "here");
    CHECK_INT(0, pthread_create(&thread, NULL, fail_elsewhere, &was_empty));
    pthread_join(thread, NULL);
    CHECK(was_empty);
    CHECK_TEXT("here", fkm_last_error());
}

TEST(every_status_has_a_name)
{
    CHECK_TEXT("FKM_OK", fkm_status_name(FKM_OK));
    CHECK_TEXT("FKM_EUNSUPPORTED", fkm_status_name(FKM_EUNSUPPORTED));
    CHECK_TEXT("FKM_EINTERNAL", fkm_status_name(FKM_EINTERNAL));
    CHECK_TEXT("unknown status", fkm_status_name((fkm_status)99));
    CHECK_TEXT(FKM_VERSION, fkm_version());
}
