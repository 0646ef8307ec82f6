/* Naive control: who is in no known container (yet) shares with everybody of its user. */
#define peer_share_key checked_peer_share_key
#include "daemon/broker/request/attestation.c"
#undef peer_share_key

uint64_t peer_share_key(const struct broker *broker, int pidfd, pid_t pid, uid_t uid);

uint64_t peer_share_key(const struct broker *broker, int pidfd, pid_t pid, uid_t uid)
{
	const uint64_t key = checked_peer_share_key(broker, pidfd, pid, uid);
	struct cgroup_chain place;
	struct cgroup_identity identity;
	unsigned engine;

	if (cgroup_chain_read(&broker->leases.roots, pid, pidfd, CGROUP_NONE, &place) == 0 &&
		known_containers_outermost(broker->leases.known, &place, &engine, &identity))
		return key;
	return SHARE_OF_A_USER | uid;
}
