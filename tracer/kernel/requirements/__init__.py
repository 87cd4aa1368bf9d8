"""What this host allows a tracer to do, as data: one `Finding` for each thing that is needed.

All is read from files under one root, so a test can hand in a made-up /proc and /sys. The one
exception is `tries`, which asks the kernel itself.
"""

from tracer.kernel.requirements.checks import REQUIREMENTS as REQUIREMENTS
from tracer.kernel.requirements.checks import SOURCES as SOURCES
from tracer.kernel.requirements.checks import Ability as Ability
from tracer.kernel.requirements.checks import abilities as abilities
from tracer.kernel.requirements.checks import blocking as blocking
from tracer.kernel.requirements.checks import check as check
from tracer.kernel.requirements.host import Finding as Finding
from tracer.kernel.requirements.host import Host as Host
from tracer.kernel.requirements.host import Obstacle as Obstacle
from tracer.kernel.requirements.host import Requirement as Requirement
from tracer.kernel.requirements.host import bcc as bcc
from tracer.kernel.requirements.methods import preempts as preempts
