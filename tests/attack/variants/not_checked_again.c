/* Naive control: who was attested once stays so until the files are there. */
#define attested_fails checked_attested_fails
#include "daemon/broker/request/attestation.c"
#undef attested_fails

const char *attested_fails(const struct broker *broker, const struct attested *attested, int pidfd);

const char *attested_fails(const struct broker *broker, const struct attested *attested, int pidfd)
{
	(void)broker;
	(void)attested;
	(void)pidfd;
	return NULL;
}
