"""The tab that compares prompt templates: the same questions to each, judged, voted on, saved.

Knows components and events; how replies are asked for and judged is assistant/evaluation's.
"""

import secrets
from collections import Counter
from collections.abc import Sequence

import gradio as gr
from anyio import CapacityLimiter, to_thread
from gradio.blocks import Block

from assistant.chat.assistant import Assistant
from assistant.completion.complete import check_count
from assistant.evaluation.questions import load_questions, unchecked_questions
from assistant.evaluation.report import figures, to_csv, to_json
from assistant.evaluation.workbench import (
    QUESTIONS_MAX,
    SEEDS_MAX,
    TEMPLATES_MAX,
    Comparison,
    Pair,
    pairs,
    tally,
)
from assistant.prompting.template import PromptTemplate
from assistant.sampling import check_max_new_tokens
from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.doors import status_line
from assistant.web.pages.events import ASIDE, QUIET, Untrusted, Update, Updates
from assistant.web.pages.playground.compare_html import chart, grid, progress, verdict, vote
from assistant.web.pages.playground.html import file
from assistant.web.pages.playground.tab_base import Card, Runs, TabSession, read_action

VOTES = ("first", "second", "tie")
TWO = "Choose two prompts that were compared."
ALIKE = "These two gave the same replies: there is nothing to vote on."


class Session(TabSession[Card]):
    """What the server keeps for one open page. edited: the edited copies of templates. on_page: how
    many results the page shows. pairs, votes, sides: the vote."""

    def __init__(self) -> None:
        super().__init__()
        self.job: Comparison | None = None
        self.edited: dict[str, PromptTemplate] = {}
        self.on_page = 0
        self.pairs: list[Pair] = []
        self.votes: list[str] = []
        self.sides: Sequence[str] = ()


class WorkbenchTab(Runs[Session]):
    """Builds the tab inside the layout that is open."""

    def __init__(self, assistants: Assistants) -> None:
        self.engine = assistants.engine
        self.templates = {template.name: template for template in assistants.names.values()}
        self.questions = load_questions()
        self.threads = CapacityLimiter(ASIDE)
        self._build(assistants.default)
        self._connect()

    def _build(self, default: Assistant) -> None:
        areas = Counter(question.area for question in self.questions)
        choices = [(f"{area} ({count})", area) for area, count in areas.items()]
        with gr.Row(elem_classes="play-row"):
            with gr.Column(min_width=220):
                self.names = gr.CheckboxGroup(
                    list(self.templates),
                    value=[default.template.name],
                    label="Prompt templates",
                    info=f"At most {TEMPLATES_MAX}",
                    elem_id="compare-names",
                )
                self.seeds = gr.Slider(1, SEEDS_MAX, 1, step=1, label="Seeds")
                self.limit = gr.Number(
                    default.max_new_tokens,
                    precision=0,
                    minimum=1,
                    maximum=self.engine.window,
                    label="New tokens, at most",
                )
            self.areas = gr.CheckboxGroup(
                choices,
                label="Our questions",
                info="Programs check the answers",
                elem_id="compare-areas",
                min_width=220,
            )
            self.typed = gr.Textbox(
                "",
                label="Your questions",
                info="One per line",
                lines=6,
                elem_id="compare-typed",
                min_width=220,
            )
        self.running = self.build_run("Compare", "compare", stop="Cancel")
        self.progress = gr.Markdown("", latex_delimiters=[], elem_id="compare-progress")
        self.chart = gr.Markdown("", latex_delimiters=[], elem_id="compare-chart")
        with gr.Row(visible=False, elem_id="voting", elem_classes="run") as self.voting:
            self.left = gr.Dropdown([], label="Vote between", min_width=140)
            self.right = gr.Dropdown([], label="and", min_width=140)
            self.begin = gr.Button("Vote blind", size="sm", elem_id="vote-begin", min_width=100)
        self.vote = gr.Markdown("", latex_delimiters=[], elem_id="vote")
        with gr.Row(visible=False, elem_id="compare-after", elem_classes="run") as self.after:
            self.csv = gr.Button("Save as CSV", size="sm", elem_id="save-csv", min_width=100)
            self.json = gr.Button("Save as JSON", size="sm", elem_id="save-json", min_width=100)
        self.grid = gr.Markdown("", latex_delimiters=[], elem_id="compare-grid")
        self.action = gr.Textbox(visible="hidden", elem_id="cast")
        self.go = gr.Button(visible="hidden", elem_id="cast-go")
        self.file = gr.Markdown("", visible="hidden", elem_id="compare-file")
        self.session = gr.State(Session())

    def _connect(self) -> None:
        inputs = [self.names, self.areas, self.typed, self.seeds, self.limit, self.session]
        outputs: list[Block] = [self.progress, self.chart, self.grid, self.vote]
        outputs += [self.after, self.voting, self.left, self.right]
        self.run.click(
            self.compare, inputs, [*self.running, *outputs], trigger_mode="multiple", **QUIET
        )
        self.stop.click(self.end, self.session, None, **QUIET)
        self.csv.click(self.save_csv, self.session, self.file, **QUIET)
        self.json.click(self.save_json, self.session, self.file, **QUIET)
        sides, voted = [self.left, self.right, self.session], [self.vote, self.status]
        self.begin.click(self.begin_vote, sides, voted, **QUIET)
        self.go.click(self.cast, [self.action, self.session], self.vote, **QUIET)

    # Asking

    async def compare(
        self,
        names: Untrusted,
        areas: Untrusted,
        lines: Untrusted,
        seeds: Untrusted,
        limit: Untrusted,
        session: Session,
    ) -> Updates:
        """One run, while its replies come in."""

        def start() -> list[Comparison]:
            known = {**self.templates, **session.edited}
            templates = {name: known[name] for name in _texts(names) if name in known}
            chosen = set(_texts(areas))
            questions = [question for question in self.questions if question.area in chosen]
            own = [line for line in str(lines or "").splitlines() if line.strip()]
            check_count("questions", len(questions) + len(own), QUESTIONS_MAX)
            questions += unchecked_questions(own)
            count = check_max_new_tokens(limit, self.engine.window)
            job = Comparison(
                self.engine, templates, questions, seeds, max_new_tokens=count, wait_s=0
            )
            session.job, session.on_page, session.pairs = job, 0, []
            return [job]

        def take(_: int, event: object) -> None:
            if isinstance(event, Exception):
                raise event

        async for page in self.work(session, start, take):
            if self.chart in page and session.job:  # rendering replies takes a while
                done = session.job.results
                page[self.grid] = await to_thread.run_sync(grid, done, limiter=self.threads)
            yield page

    def results(self, session: Session) -> Update:
        """How far it is; at the end with what there is to do then. Chart and grid are large, so
        they are sent anew only when they have grown a bit."""
        job = session.job
        if job is None:
            return {}
        done = job.results
        page: Update = {self.progress: progress(len(done), job.planned)}
        over = not session.work.running
        if over or len(done) > 1.2 * session.on_page:
            session.on_page = len(done)
            rows = figures(done, job.assistants)
            page |= {self.chart: chart(rows, job.assistants)}
        if over:
            names = list(job.assistants)
            page |= {
                self.vote: "",
                self.after: gr.update(visible=True),
                self.voting: gr.update(visible=len(names) > 1),
                self.left: gr.update(choices=names, value=names[0]),
                self.right: gr.update(choices=names, value=names[-1]),
            }
        return page

    # Voting

    def begin_vote(self, left: Untrusted, right: Untrusted, session: Session) -> Update:
        """The first pair of two prompts' replies."""
        job = session.job
        sides = [name for name in job.assistants if name in (left, right)] if job else []
        if not job or len(sides) != 2:
            return {self.status: status_line(TWO)}
        session.pairs = pairs(job.results, sides[0], sides[1], secrets.randbelow(2**31))
        session.votes, session.sides = [], sides
        if not session.pairs:
            return {self.status: status_line(ALIKE)}
        return {self.vote: vote(session.pairs, 0)}

    def cast(self, action: Untrusted, session: Session) -> Update:
        """A vote for one side or none, or the end of the vote."""
        name, numbers = read_action(action)
        if not session.pairs or name not in ("vote", "reveal"):
            return {self.vote: gr.skip()}
        session.votes += [VOTES[number] for number in numbers if number < len(VOTES)]
        if name == "vote" and len(session.votes) < len(session.pairs):
            return {self.vote: vote(session.pairs, len(session.votes))}
        counted = tally(session.pairs, session.votes)
        session.pairs = []
        return {self.vote: verdict(counted, session.sides[0], session.sides[1])}

    # Saving

    def save_csv(self, session: Session) -> Update:
        if session.job is None:
            return {self.file: gr.skip()}
        return {self.file: file("comparison.csv", "text/csv", to_csv(session.job.results))}

    def save_json(self, session: Session) -> Update:
        job = session.job
        if job is None:
            return {self.file: gr.skip()}
        text = to_json(job.results, job.assistants, job.seeds, run=False)
        return {self.file: file("comparison.json", "application/json", text)}


def _texts(value: Untrusted) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
