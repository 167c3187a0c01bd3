"""What transformers calls a decoder's cache: `cache` from 5.24 on, `past_key_values` before.

Models here take it by either name, and give it to others by the one that the installed transformers knows.
"""

from transformers.modeling_outputs import CausalLMOutputWithPast

CACHE_NAME = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"
