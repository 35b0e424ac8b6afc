"""The command line: one small file a command, no logic, imported when the command runs."""

from __future__ import annotations

from exoscope.cli.frame import Place, Program, run

COMMANDS = {
    "init": Place(
        "Set up", "init", "Write the first profile: find the tenant, choose the road, sign in, look at the set-up."
    ),
    "login": Place("Set up", "login", "Sign the operator in, and keep it where the profile says so."),
    "logout": Place("Set up", "logout", "Remove the kept sign-in of the profile's operator."),
    "whoami": Place("Set up", "whoami", "Say who the operator is, as the tokens say it."),
    "doctor": Place("Set up", "doctor", "Look at your own set-up: everything the operator needs, before it is needed."),
    "recipes": Place("Set up", "recipes", "Say what common connectors really need, and what their guides get wrong."),
    "handover": Place(
        "Set up", "handover", "Hand a connector over: what its form asks for, and where its secret lies."
    ),
    "guard": Place("Look", "guard", "Show what PowerShell scripts would do, or why they are refused."),
    "reach": Place("Look", "reach", "Answer which mailboxes an app reaches, or which apps reach a mailbox."),
    "explain": Place("Look", "explain", "Tell the story of one answer, rule by rule."),
    "snapshot": Place("Look", "snapshot", "Read a tenant into a file."),
    "scope": Place("Change", "scope", "The main job in one command: plan, ask, apply and prove, for one app."),
    "plan": Place("Change", "plan", "Plan the steps from a tenant to an intent."),
    "onboard": Place("Change", "onboard", "Plan the registration of a connector, handed over scoped."),
    "migrate": Place("Change", "migrate", "Plan the move from Application Access Policies to roles."),
    "show": Place("Change", "show", "Print a plan: stages, steps, needs, times, exact PowerShell."),
    "script": Place("Change", "script", "Write a plan as PowerShell files for change control."),
    "apply": Place("Change", "apply", "Run a plan up to the first gate that is not open."),
    "resume": Place("Change", "resume", "Go on with a run."),
    "undo": Place("Change", "undo", "Take a run back, in the safe order."),
    "runs": Place("Change", "runs", "List the runs."),
    "status": Place("Change", "status", "Say what a run waits for, and how long."),
    "credentials": Place("Change", "credentials", "List, add, rotate and remove an app's secrets and certificates."),
    "verify": Place("Prove", "verify", "Prove a plan or an intent with Exchange's answers and Graph calls as the app."),
    "check": Place("Prove", "check", "See what a connector will meet, with its own credential."),
    "rehearse": Place(
        "Try", "rehearse", "Apply a plan to the twin of its tenant, watch every moment, and take it back."
    ),
    "sandbox": Place("Try", "sandbox", "Serve the twin of a tenant on this machine."),
    "demo": Place("Try", "demo", "See the main job run on a sample tenant."),
}

program = Program(
    "exoscope",
    COMMANDS,
    help="Which mailboxes may this app reach? Plan it, apply it, and prove it.\n\n"
    "Answers go to stdout, talk to stderr. Every command that answers something has --json.",
)


def main() -> None:
    """Entry point of the console script."""
    run(program)
