#include "daemon/broker/policy/plan_build.h"

#include "daemon/broker/policy/policy_match.h"
#include "daemon/broker/policy/posture.h"
#include "proto/cleanup.h"
#include "proto/secret_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 160

/* Of a policy with more grants than this the trail names those that nearly match. */
#define MISMATCHES_SHOWN_MAX 32

struct deciding {
	struct policy *policy;
	const struct policy_question *question;
	struct trail *trail;
	const struct policy_grant *only; /* what the volume's options narrow it to, or NULL */
	struct matched_grants matched;
	char who[SHOWN_MAX];
};

static const char *show(char buffer[SHOWN_MAX], const char *text)
{
	return error_quote(buffer, SHOWN_MAX, text, strlen(text));
}

static void name_container(struct deciding *deciding)
{
	const struct container_facts *facts = deciding->question->facts;
	const char *name = *facts->name ? facts->name : facts->id;

	deciding->matched.who = show(deciding->who, name);
}

/* ---- Narrowing by the volume's options. ---- */

static int refuse_unknown_grant(
	const struct deciding *deciding, const char *name, struct mayfly_error *err)
{
	const struct policy *policy = deciding->policy;
	AUTO_FREE const char **names = calloc(policy->grants_count + 1, sizeof *names);
	const char *nearest = NULL;
	char shown[SHOWN_MAX];

	/* Without memory only the hint is missing. */
	for (size_t i = 0; names && i < policy->grants_count; i++)
		names[i] = policy->grants[i].name;
	if (names)
		nearest = nearest_word(name, names, policy->grants_count);
	return error_set(err, -EPERM,
		"the volume's option `grant` names '%s', which is no grant%s%s%s",
		show(shown, name), nearest ? "; did you mean '" : "", nearest ? nearest : "",
		nearest ? "'?" : "");
}

static int narrow(struct deciding *deciding, struct mayfly_error *err)
{
	const struct volume_options *options = deciding->question->options;
	const struct policy *policy = deciding->policy;
	int r;

	if (!options || !*options->grant)
		return 0;
	for (size_t i = 0; i < policy->grants_count; i++) {
		if (strcmp(policy->grants[i].name, options->grant) != 0)
			continue;
		deciding->only = &policy->grants[i];
		trail_add(deciding->trail, STEP_NOTED, "options",
			"the volume's options narrow it to grant %s", deciding->only->name);
		return 0;
	}
	r = refuse_unknown_grant(deciding, options->grant, err);
	trail_add(deciding->trail, STEP_FAILED, "options", "%s", err->text);
	return r;
}

/* ---- Matching. ---- */

static void wanted_text(const struct policy_term *term, char *buffer, size_t size)
{
	char shown[SHOWN_MAX];

	if (term->key == MATCH_COMPOSE_ONEOFF)
		(void)snprintf(buffer, size, "%s", term->wanted ? "true" : "false");
	else
		(void)snprintf(buffer, size, "'%s%s'", show(shown, term->value),
			term->is_prefix ? "*" : "");
}

static void explain_mismatch(const struct deciding *deciding, const struct policy_grant *grant,
	const struct policy_term *term)
{
	const struct policy_question *question = deciding->question;
	const char *found = term_found(term, question->facts, question->volume);
	char key[SHOWN_MAX], shown[SHOWN_MAX], wanted[SHOWN_MAX + 4];

	(void)term_key(term, key, sizeof key);
	wanted_text(term, wanted, sizeof wanted);
	if (found)
		trail_add(deciding->trail, STEP_FAILED, "match",
			"grant %s (%s:%u): %s is '%s', wanted %s", grant->name, grant->file,
			grant->line, key, show(shown, found), wanted);
	else
		trail_add(deciding->trail, STEP_FAILED, "match",
			"grant %s (%s:%u): %s is not there, wanted %s", grant->name, grant->file,
			grant->line, key, wanted);
}

/* A container that nearly matches is the one that `explain` is asked about. */
static bool is_worth_showing(const struct deciding *deciding, const struct policy_grant *grant)
{
	const struct policy_question *question = deciding->question;

	return deciding->policy->grants_count <= MISMATCHES_SHOWN_MAX ||
	       grant_terms_held(grant, question->facts, question->volume) > 0;
}

static void match_grants(struct deciding *deciding)
{
	const struct policy_question *question = deciding->question;
	size_t shown = 0, hidden = 0;

	for (size_t i = 0; i < deciding->policy->grants_count; i++) {
		const struct policy_grant *grant = &deciding->policy->grants[i];
		const struct policy_term *term;

		if (deciding->only && deciding->only != grant)
			continue;
		term = grant_mismatch(grant, question->facts, question->volume);
		if (!term) {
			deciding->matched.items[deciding->matched.count++] = grant;
			trail_add(deciding->trail, STEP_PASSED, "match",
				"grant %s (%s:%u): every term holds", grant->name, grant->file,
				grant->line);
		} else if (shown < MISMATCHES_SHOWN_MAX && is_worth_showing(deciding, grant)) {
			explain_mismatch(deciding, grant, term);
			shown++;
		} else {
			hidden++;
		}
	}
	if (hidden > 0)
		trail_add(deciding->trail, STEP_NOTED, "match", "%zu further grants do not match",
			hidden);
}

/* " (project shop, service web)", with what Compose says of the container; or nothing. */
static const char *compose_words(const struct container_facts *facts, char *buffer, size_t size)
{
	const char *project = container_label(facts, match_key_label(MATCH_COMPOSE_PROJECT));
	const char *service = container_label(facts, match_key_label(MATCH_COMPOSE_SERVICE));
	char project_shown[SHOWN_MAX], service_shown[SHOWN_MAX];

	buffer[0] = '\0';
	if (project || service)
		(void)snprintf(buffer, size, " (%s%s%s%s%s)", project ? "project " : "",
			project ? show(project_shown, project) : "", project && service ? ", " : "",
			service ? "service " : "", service ? show(service_shown, service) : "");
	return buffer;
}

static int refuse_unmatched(const struct deciding *deciding, struct mayfly_error *err)
{
	char words[2 * SHOWN_MAX + 32];

	(void)compose_words(deciding->question->facts, words, sizeof words);
	if (deciding->only)
		return error_set(err, -EPERM,
			"grant %s, which the volume's options name, does not match %s%s; see "
			"`mayfly explain %s`",
			deciding->only->name, deciding->who, words, deciding->who);
	return error_set(err, -EPERM, "no grant matches %s%s; see `mayfly explain %s`",
		deciding->who, words, deciding->who);
}

/* ---- What each matching grant asks. ---- */

static int judge_posture(
	const struct deciding *deciding, const struct policy_grant *grant, struct mayfly_error *err)
{
	const struct policy_question *question = deciding->question;
	const enum posture_key key =
		posture_violation(&grant->require, question->facts, question->cgroup_version);
	int r;

	if (key == POSTURE_FINE) {
		trail_add(deciding->trail, STEP_PASSED, "require",
			"grant %s: the container's posture is as required", grant->name);
		return 0;
	}
	r = error_set(err, -EPERM, "grant %s refuses %s", grant->name, posture_advice(key));
	trail_add(
		deciding->trail, STEP_FAILED, "require", "%s (`%s`)", err->text, posture_name(key));
	return r;
}

static int find_set(
	const struct deciding *deciding, const struct policy_grant *grant, struct mayfly_error *err)
{
	const char *environment = deciding->question->environment;
	int r;

	if (grant->set || environment) {
		trail_add(deciding->trail, STEP_PASSED, "set", "grant %s: secrets of set %s%s",
			grant->name, grant->set ? grant->set : environment,
			grant->set ? "" : ", the host's environment");
		return 0;
	}
	r = error_set(err, -EPERM,
		"grant %s names no set and this host has no environment; run `mayfly init "
		"--environment NAME` or set `environment` in mayflyd.json",
		grant->name);
	trail_add(deciding->trail, STEP_FAILED, "set", "%s", err->text);
	return r;
}

/* All are judged, so that the trail shows all; the first refusal is the reason. */
static int judge_grants(const struct deciding *deciding, struct mayfly_error *err)
{
	struct mayfly_error later;
	int result = 0;

	for (size_t i = 0; i < deciding->matched.count; i++) {
		const struct policy_grant *grant = deciding->matched.items[i];
		int r = judge_posture(deciding, grant, result == 0 ? err : &later);

		if (result == 0)
			result = r;
		r = find_set(deciding, grant, result == 0 ? err : &later);
		if (result == 0)
			result = r;
	}
	return result;
}

static int decide(struct deciding *deciding, struct plan *ret_plan, struct mayfly_error *err)
{
	int r = narrow(deciding, err);

	if (r < 0)
		return r;
	match_grants(deciding);
	if (deciding->matched.count == 0)
		return refuse_unmatched(deciding, err);
	r = judge_grants(deciding, err);
	if (r < 0)
		return r;
	return plan_build(&deciding->matched, deciding->question, deciding->trail, ret_plan, err);
}

int policy_decide(struct policy *policy, const struct policy_question *question,
	struct trail *trail, struct plan *ret_plan, struct mayfly_error *err)
{
	struct deciding deciding = { .policy = policy, .question = question, .trail = trail };
	struct mayfly_error reason;
	int r;

	name_container(&deciding);
	deciding.matched.policy = policy;
	deciding.matched.items = calloc(policy->grants_count + 1, sizeof *deciding.matched.items);
	if (!deciding.matched.items)
		return error_errno(err, -ENOMEM, "decide about %s", deciding.who);
	/* The trail quotes the reason: it is needed even where the caller wants none. */
	r = decide(&deciding, ret_plan, err ? err : &reason);
	free(deciding.matched.items);
	return r;
}
