"""Results of attacks in files: a table of records' risks, and JSON of all else beside it."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from memo.artifacts.files import ArtifactError, read_whole, write_whole
from memo.artifacts.tables import read_table, write_table
from memo.attacks.membership import Attacked
from memo.attacks.results import AttackResults
from memo.attacks.risk import NULLABLE, RISKS


@dataclass(frozen=True)
class AttackFiles:
    """The two files of one experiment.

    Args:
        risks: Where the table lies.
        results: Where the JSON lies.
        fingerprint: What both must name; None where anything will do.
    """

    risks: Path
    results: Path
    fingerprint: str | None = None

    def write(self, attacked: Attacked) -> None:
        """Write both, each whole or not at all.

        Raises:
            ArtifactError: One cannot be written.
        """
        named = attacked.results.model_copy(update={"fingerprint": self.fingerprint})
        facts = {} if self.fingerprint is None else {"fingerprint": self.fingerprint}
        write_table(self.risks, attacked.risks, RISKS, facts, NULLABLE, len(attacked.risks))
        write_whole(self.results, named.model_dump_json(indent=2).encode() + b"\n")

    def read(self) -> Attacked:
        """Read both.

        Raises:
            ArtifactError: One is missing, damaged, or from another spec.
        """
        results = read_attack_results(self.results)
        risks, facts = read_table(self.risks, RISKS, results.risk_rows, NULLABLE)
        if self.fingerprint is not None:
            for file, found in (
                (self.results, results.fingerprint),
                (self.risks, facts.get("fingerprint")),
            ):
                if found != self.fingerprint:
                    raise ArtifactError(f"{file}: belongs to another spec")
        return Attacked(results, risks)


def read_attack_results(file: Path) -> AttackResults:
    """Read the JSON of one experiment's attacks.

    Raises:
        ArtifactError: It is missing, damaged, or not what memo writes.
    """
    return parse_attack_results(read_whole(file), file)


def parse_attack_results(content: bytes, file: Path) -> AttackResults:
    """Results of one experiment's attacks from their JSON.

    Args:
        content: The file's content.
        file: The file that errors name.

    Raises:
        ArtifactError: It is damaged, or not what memo writes.
    """
    try:
        return AttackResults.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ArtifactError(
            f"{file}: is not a whole file of attacks: {place}: {first['msg']}"
        ) from None
